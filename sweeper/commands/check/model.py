"""One model tried out before any trial: what it needs, and a batch through it."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from sweeper.config.references import is_reference, split_reference
from sweeper.config.settings import ModelConfig, TrialConfig
from sweeper.data.dataset import TrialData
from sweeper.errors import SweeperError, TrainingError
from sweeper.models.build import (
    BUILDERS,
    build_for,
    check_model,
    check_outputs,
    line_of,
    torch_dtype,
)
from sweeper.study.failures import failure_kind
from sweeper.training.build import build_learner
from sweeper.training.learner import Runtime, train_epoch
from sweeper.trial import DataInfo, FailureKind
from sweeper.workers.memory import available_memory

_GIB = 2**30


@dataclass(frozen=True)
class Footprint:
    """What a training step of a model needs at least.

    Attributes:
        n_weights: Numbers that are trained.
        n_bytes: Of weights, their gradients, and what one batch leaves for the backward pass.
    """

    n_weights: int
    n_bytes: int


def measure_model(model: ModelConfig, data: DataInfo, n_rows: int) -> Footprint:
    """Build a model, send two blank samples through it, and see that a batch fits this machine.

    A built-in model takes no memory for it, however big it is.

    Args:
        model: What to build.
        data: What it is to take.
        n_rows: Of a batch.

    Raises:
        TrainingError: If the model cannot be built or fed, or does not fit.
        SpecError: If the user's builder cannot be imported.
    """
    shapes, dtype = (data.input_shape, data.n_outputs), torch_dtype(data.input_dtype)
    is_built_in = model.architecture in BUILDERS
    with blamed_on(model), torch.device("meta") if is_built_in else nullcontext():
        net = build_for(model, data)
        check_model(net, *shapes, dtype)
        activations = _saved_bytes(net, torch.zeros(2, *shapes[0], dtype=dtype), shapes[1]) // 2
    weights = [parameter for parameter in net.parameters() if parameter.requires_grad]
    n_bytes = 2 * sum(weight.nbytes for weight in weights) + activations * n_rows
    if n_bytes > (available := available_memory()):
        raise TrainingError(
            f"model.architecture: {model.architecture} needs {n_bytes / _GIB:,.1f} GiB at least, "
            f"for weights, gradients and a batch of {n_rows}; this job can have "
            f"{available / _GIB:,.1f}: make the model smaller, or data.batch_size"
        )
    return Footprint(sum(weight.numel() for weight in weights), n_bytes)


def try_batch(
    config: TrialConfig, data: TrialData, batch: tuple[Tensor, Tensor]
) -> tuple[float, float]:
    """Build a trial's learner and train it on a batch; its loss, and the seconds of the update.

    Raises:
        TrainingError: If a part of it cannot be built or cannot take the batch, or a setting
            means nothing for such data.
    """
    assert config.model is not None
    with blamed_on(config.model):
        learner = build_learner(config, data, Runtime(batch[0].device))
        begun = time.perf_counter()
        loss = train_epoch(learner, [batch])
    return loss, time.perf_counter() - begun


def measure_batch(
    config: TrialConfig, data: TrialData, batch: tuple[Tensor, Tensor]
) -> Collection[str]:
    """Measure a model that has learned nothing on a batch of validation rows; the metrics' names.

    Raises:
        TrainingError: If the user's own metrics return something else than numbers by new names.
        Exception: Whatever these metrics raise.
    """
    learner = build_learner(config, data, Runtime(batch[0].device))
    learner.evaluate([batch])
    _, measured = learner.end_evaluation()
    return measured.keys()


def _saved_bytes(net: nn.Module, inputs: Tensor, n_outputs: int) -> int:
    """Bytes that the forward pass keeps for the backward pass, those of the weights apart.

    The model is in training mode, in which it may return something else than in eval mode.
    """
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)  # alive, so that no other storage takes its address
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        output = net.train()(inputs)
    check_outputs(net, output, n_outputs)
    sizes = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes()
        for tensor in [*saved, output]
    }
    for parameter in net.parameters():
        sizes.pop(parameter.untyped_storage()._cdata, None)
    return sum(sizes.values())


@contextmanager
def blamed_on(model: ModelConfig) -> Iterator[None]:
    """Exceptions of code that is not ours as a :class:`TrainingError` with their place."""
    name = model.architecture
    try:
        yield
    except SweeperError:
        raise
    except (Exception, SystemExit) as exc:
        is_expected = failure_kind(exc) == FailureKind.OUT_OF_MEMORY
        is_expected |= isinstance(exc, ValueError)  # torch cannot normalise a batch of one row
        if name in BUILDERS and not is_expected:
            raise
        raise TrainingError(
            f"model.architecture: {name} raised {type(exc).__name__}: {exc}{origin(name, exc)}"
        ) from exc


def origin(name: str, exc: BaseException) -> str:
    """Where in the user's own file it was raised; nothing for a model of torchvision."""
    line = line_of(split_reference(name)[0], exc) if is_reference(name) else ""
    return f" ({line})" if line else ""
