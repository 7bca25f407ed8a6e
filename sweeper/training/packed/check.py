"""Whether a model can be computed for several members, and whether it is the same then."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sweeper.config.settings import TrialConfig
from sweeper.data.dataset import TrialData
from sweeper.models.build import build_for
from sweeper.models.dropout import drawing_by
from sweeper.training.learner import Runtime
from sweeper.training.packed.modules import activations_of
from sweeper.training.packed.program import Draws, Program
from sweeper.training.packed.watched import reason_left
from sweeper.training.seed import capture_rng_state, restore_rng_state

_RUNTIME = Runtime(torch.device("cpu"))
_N_ROWS, _N_MEMBERS = 4, 2
#: Of float64, relative to the largest number.
_TOLERANCE = 1e-9
_EVALUATED = "outputs in evaluation"


def unfit_reason(config: TrialConfig, data: TrialData, runtime: Runtime) -> str | None:
    """Why a model must be trained by itself; None if members can share its program.

    Two models of different weights are computed in float64 on a CPU, with rows of the data: as
    members and each alone, in training with its draws and gradients, and in evaluation. Then they
    are as members where the trial is, whose kernels may be others. Random generators stay as they
    are.

    Args:
        config: Of a trial.
        data: Of the trial.
        runtime: Of the trial.

    Raises:
        OutOfMemoryError: If the device has not the memory to find out.
    """
    kept = capture_rng_state(runtime.device)
    try:
        inputs, _ = next(iter(data.train.batches(_N_ROWS)))
        models = []
        for seed in range(_N_MEMBERS):
            torch.manual_seed(seed)
            assert config.model is not None
            models.append(build_for(config.model, data.info).double())
        with drawing_by(None):
            rows = _in_float64(inputs)
            reason = (
                _state_reason(models[0])
                or _difference(models, rows)
                or _habit_reason(models[0], rows)
            )
            if reason is None:
                _require_device(models, inputs, runtime)
            return reason
    except torch.OutOfMemoryError:
        raise
    except Exception as exc:
        cause = str(exc).strip().partition("\n")[0]
        return f"vmap does not take it ({type(exc).__name__}: {cause})"
    finally:
        restore_rng_state(kept, runtime.device)


def rows_reason(model: nn.Module) -> str | None:
    """Why the parameters of a model cannot be a row; None if they can."""
    kinds = {(p.dtype, p.device) for p in model.parameters() if p.requires_grad}
    return "its parameters are of several dtypes or devices" if len(kinds) > 1 else None


def _in_float64(inputs: Tensor) -> Tensor:
    inputs = inputs.cpu()
    return inputs.double() if inputs.is_floating_point() else inputs


def _state_reason(model: nn.Module) -> str | None:
    others = [k for k, v in model.state_dict().items() if type(v) is not Tensor]
    return f"it keeps {', '.join(others)} beside tensors" if others else None


def _habit_reason(model: nn.Module, inputs: Tensor) -> str | None:
    """Why what one batch leaves behind, in the module that all share, might change another."""
    model.train()
    return reason_left(lambda: model(inputs), model, inputs.device)


def _difference(models: Sequence[nn.Module], inputs: Tensor) -> str | None:
    batches = [inputs.roll(member, 0) for member in range(len(models))]
    weights = torch.randn(len(inputs), 1, dtype=torch.float64)
    together = _together(models, batches, weights)
    for number, (model, batch) in enumerate(zip(models, batches, strict=True)):
        for name, value in _alone(model, batch, weights, number).items():
            own = together[name]
            if own is None:
                return f"no output depends on its {name}"
            if not _are_close(own[number], value):
                return f"for several trials at once its {name} would be others"
    return None


def _require_device(models: Sequence[nn.Module], inputs: Tensor, runtime: Runtime) -> None:
    """Compute a batch of all where trials are; raises what a program there would raise."""
    for model in models:
        model.to(runtime.device, torch.float32)
    weights = torch.ones(len(inputs), 1, device=runtime.device)
    inputs = inputs.float() if inputs.is_floating_point() else inputs
    _together(models, [inputs] * len(models), weights, runtime)


def _together(
    models: Sequence[nn.Module],
    batches: list[Tensor],
    weights: Tensor,
    runtime: Runtime = _RUNTIME,
) -> Mapping[str, Tensor | None]:
    """As :func:`_alone`, of all models."""
    program, segments = Program(models[0], runtime), [(activations_of(models[0]), len(models))]
    members = zip(models, batches, strict=True)
    trained = [name for name, p in models[0].named_parameters() if p.requires_grad]
    tensors = [dict(model.named_parameters()) | dict(model.named_buffers()) for model in models]
    others = {name: torch.stack([t[name].detach() for t in tensors]) for name in tensors[0]}
    leaves = {name: others.pop(name).requires_grad_() for name in trained}
    drawn = [_masks(model, batch, n, runtime) for n, (model, batch) in enumerate(members)]
    calls = zip(*drawn, strict=True)
    masks = [torch.stack(list(of_members)) for of_members in calls]
    outputs = program(leaves, others, torch.stack(batches), masks, segments)
    loss = (outputs * weights).sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    with torch.no_grad():
        measured = program(leaves, others, torch.stack(batches), None, segments)
    named = dict(zip(leaves, gradients, strict=True))
    return {**named, **others, "outputs": outputs.detach(), _EVALUATED: measured}


def _masks(model: nn.Module, batch: Tensor, seed: int, runtime: Runtime) -> list[Tensor]:
    draws = Draws(model, runtime)
    draws.masks(batch)
    torch.manual_seed(seed)
    return draws.masks(batch)


def _alone(model: nn.Module, batch: Tensor, weights: Tensor, seed: int) -> Mapping[str, Tensor]:
    """Gradients, buffers and outputs of a batch in training, and outputs in evaluation."""
    torch.manual_seed(seed)
    model.train()
    outputs = model(batch)
    (outputs * weights).sum().backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    gradients = {
        name: p.new_zeros(()) if p.grad is None else p.grad for name, p in trained.items()
    }
    model.eval()
    with torch.no_grad():
        measured = model(batch)
    buffers = dict(model.named_buffers())
    return {**gradients, **buffers, "outputs": outputs.detach(), _EVALUATED: measured}


def _are_close(own: Tensor, expected: Tensor) -> bool:
    own, expected = own.double(), expected.double()
    scale = 1 + expected.abs().max()
    return bool((own - expected).abs().max() <= _TOLERANCE * scale)
