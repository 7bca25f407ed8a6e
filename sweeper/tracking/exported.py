"""A network exported once, then saved with the weights of trial after trial.

``torch.export`` takes most of the time of logging a model, and does not look at the weights.
"""

import warnings
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from sweeper.events import TensorForm
from sweeper.models.tracing import tracing_by_shapes
from sweeper.tracking.program_form import ProgramForm, RowForm
from sweeper.training.export import check_answers, forget_lines, requirements

#: Of all programs that wait for the next trial of their kind, weights included.
_KEPT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ExportedModel:
    """A program that takes on other weights.

    Attributes:
        program: With the weights of the latest trial.
        form: What it takes and answers.
    """

    program: ExportedProgram
    form: ProgramForm

    @property
    def n_bytes(self) -> int:
        """Memory of the weights and of what is spelt."""
        weights: int = sum(tensor.nbytes for tensor in self.program.state_dict.values())
        return weights + (len(self.form.rows.strings) if self.form.rows else 0)

    def save(self, module: nn.Module, probe: Tensor, file: BytesIO) -> None:
        """Write the program with the weights of ``module``.

        Args:
            module: Built as the one that was exported.
            probe: As :func:`save_exported` took.
            file: Where to.

        Raises:
            ValueError: If the program answers otherwise than ``module``.
        """
        weights = module.state_dict()
        with torch.no_grad():
            for name, tensor in self.program.state_dict.items():
                tensor.copy_(weights[name])
        _check_answers(self.program, module, probe)
        torch.export.save(self.program, file)


def import_export() -> None:
    """Import now what torch imports at the first export: most of a second of a core."""
    with suppress(Exception):  # where nothing can be exported, the first model says so
        torch.export.export(nn.Identity(), (torch.zeros(1),))


def save_exported(
    module: nn.Module, probe: Tensor, file: BytesIO, rows: RowForm | None = None
) -> ExportedModel:
    """Export ``module`` for any batch size, and write the program.

    Args:
        module: In eval mode: [B, ...] -> outputs [B, n_outputs].
        probe: Some samples, of a number that tracing does not see.
        file: Where to.
        rows: How it is served; None if it is to take and to return tensors.

    Raises:
        Exception: Whatever ``torch.export`` raises for a model that it cannot export.
        ValueError: If the program answers otherwise than ``module``.
    """
    # Of recurrent networks, whose list of weights is made anew while they are traced.
    warnings.filterwarnings("ignore", "The tensor attributes .* were assigned during export")
    # A batch of 1 would fix the batch at 1.
    example = torch.zeros_like(probe[:2])
    with tracing_by_shapes():
        program = torch.export.export(module, (example,), dynamic_shapes=({0: Dim.AUTO},))
    forget_lines(program)
    torch.export.save(program, file)
    file.seek(0)
    program = torch.export.load(file)  # as others will read it
    _check_answers(program, module, probe)
    forms = tuple(_form(tensor) for tensor in (probe, _answers(module, probe)))
    return ExportedModel(
        program, ProgramForm(forms[:1], forms[1:], tuple(requirements(module)), rows)
    )


def _form(tensor: Tensor) -> TensorForm:
    return TensorForm("", tensor.numpy().dtype.name, tuple(tensor.shape[1:]))


def _check_answers(program: ExportedProgram, module: nn.Module, probe: Tensor) -> None:
    with torch.no_grad():
        check_answers(program.module()(probe), _answers(module, probe))


def _answers(module: nn.Module, probe: Tensor) -> Tensor:
    with torch.no_grad():
        outputs: Tensor = module(probe)
    return outputs


class ExportedModels:
    """The exported models used last, as many as fit into some memory, and one at least."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, ExportedModel] = OrderedDict()

    def find(self, kind: str) -> ExportedModel | None:
        """The exported model of that kind."""
        if kind in self._kept:
            self._kept.move_to_end(kind)
        return self._kept.get(kind)

    def keep(self, kind: str, exported: ExportedModel) -> None:
        """Find it from now on."""
        self._kept[kind] = exported
        while len(self._kept) > 1 and self._n_bytes() > _KEPT_BYTES:
            self._kept.popitem(last=False)

    def _n_bytes(self) -> int:
        return sum(exported.n_bytes for exported in self._kept.values())
