"""The model that a user's training function logs, written into the trial's folder."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from sweeper.durable import Step, durable, replace_file
from sweeper.events import ModelLogged
from sweeper.text import redacted
from sweeper.training.checkpoint import disk_errors, save_checkpoint
from sweeper.training.export import Exported, export_module


def keep_model(
    module: nn.Module,
    example: object,
    *,
    program: Path,
    weights: Path,
    time_s: float,
    note: Callable[[str], None],
) -> ModelLogged:
    """Write a module as a program, or its state_dict if it cannot be exported.

    Args:
        module: That is trained; it is left as it is.
        example: As :func:`~sweeper.training.export.export_module` takes it.
        program: Where a program is to lie.
        weights: Where a state_dict is to lie, as :func:`save_checkpoint` writes it.
        time_s: Now, in seconds since the Unix epoch.
        note: Told why it cannot be exported.

    Returns:
        What is now there, in the one place or the other.

    Raises:
        StoreError: If the disk does not take it.
    """
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    try:
        exported = export_module(module, example)
    except (Exception, SystemExit) as exc:
        cause = redacted(f"{type(exc).__name__}: {exc}").partition("\n")[0]
        note(
            f"the model {name} cannot be exported ({cause}); its state_dict is logged instead, "
            "which only your own code can load"
        )
        state = module.state_dict().items()
        tensors = {key: v.detach().cpu() if isinstance(v, Tensor) else v for key, v in state}
        save_checkpoint(weights, tensors)
        program.unlink(missing_ok=True)
        return ModelLogged(time_s, "state_dict", name)
    _save(exported, program)
    weights.unlink(missing_ok=True)
    return ModelLogged(time_s, "pt2", name, exported.inputs, exported.outputs, exported.packages)


def _save(exported: Exported, path: Path) -> None:
    with (
        disk_errors(path),
        durable(Step.LOGGED_FILE),
        replace_file(path) as aside,
        aside.open("wb") as file,
    ):
        torch.export.save(exported.program, file)
