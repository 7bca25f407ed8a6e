"""A user's module as a program that torch runs where the user's code is not."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from sweeper.errors import TrainingError
from sweeper.events import TensorForm
from sweeper.models.tracing import tracing_by_shapes
from sweeper.training.seed import capture_rng_state, restore_rng_state

#: Rows that are exported with, as 1 would fix the batch at 1; and another number, that is tried.
_TRACED, _TRIED = 2, 3


@dataclass(frozen=True)
class Exported:
    """A program, and what it takes and answers.

    Attributes:
        program: On the CPU, in eval mode, for any number of rows.
        inputs: In the order in which it takes them.
        outputs: What it answers.
        packages: What it needs to run, with versions as pip writes them.
    """

    program: ExportedProgram
    inputs: tuple[TensorForm, ...]
    outputs: tuple[TensorForm, ...]
    packages: tuple[str, ...]


def export_module(module: nn.Module, example: object) -> Exported:
    """Export a module that is trained; it is left as it is, and so are random generators.

    Args:
        module: On any device, in any mode.
        example: A batch as it takes it: a tensor, a tuple of tensors, or tensors by the names of
            its arguments. The first side of each is the batch, of one row or more.

    Raises:
        TrainingError: If the example is none of that, or the module answers something else than
            tensors with a row for each of its rows.
        ValueError: If the program answers otherwise than the module.
        Exception: Whatever ``torch.export`` raises for a module that it cannot export.
    """
    arguments, tensors = _read_example(example)
    with _evaluated_on_cpu(module), torch.no_grad(), tracing_by_shapes():
        answers = _Answers(module, arguments)
        program = torch.export.export(
            answers,
            tuple(_repeated(tensor, _TRACED) for tensor in tensors),
            dynamic_shapes=(tuple({0: Dim.DYNAMIC} for _ in tensors),),
        )
        forget_lines(program)
        tried = [_repeated(tensor, _TRIED) for tensor in tensors]
        outputs = answers(*tried)
        check_answers(program.module()(*tried), outputs)
    if any(len(output) != _TRIED for output in _named(outputs).values()):
        raise TrainingError("its answers have not a row for each row of the example")
    # No row of the user's leaves this machine with the model.
    program.example_inputs = tuple(map(torch.zeros_like, tensors)), {}
    names = arguments or ([f"input_{n}" for n in range(len(tensors))] if tensors[1:] else [""])
    return Exported(
        program,
        tuple(_form(*pair) for pair in zip(names, tensors, strict=True)),
        tuple(_form(*pair) for pair in _named(outputs).items()),
        tuple(requirements(module)),
    )


class _Answers(nn.Module):
    """A module that is given tensors by position, and answers tensors alone.

    Args:
        module: What answers.
        arguments: Names by which it is given them; none if by position.
    """

    def __init__(self, module: nn.Module, arguments: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self._arguments = arguments

    def forward(self, *tensors: Tensor) -> Tensor | dict[str, Tensor]:
        """What the module answers, less what is no tensor, or one without rows, beside others."""
        if self._arguments:
            answer = self.module(**dict(zip(self._arguments, tensors, strict=True)))
        else:
            answer = self.module(*tensors)
        if isinstance(answer, Tensor):
            return _readable(answer)
        if isinstance(answer, tuple | list):
            answer = {f"output_{n}": each for n, each in enumerate(answer)}
        named = answer.items() if isinstance(answer, Mapping) else ()
        kept = {str(k): _readable(v) for k, v in named if isinstance(v, Tensor) and v.ndim}
        if not kept:
            raise TrainingError(
                f"it answers with a {type(answer).__name__}, where a tensor, or tensors by name "
                "or in a row, are wanted"
            )
        return next(iter(kept.values())) if len(kept) == 1 else kept


def _readable(answer: Tensor) -> Tensor:
    return answer.float() if answer.dtype == torch.bfloat16 else answer  # which NumPy has not


def _read_example(example: object) -> tuple[list[str], list[Tensor]]:
    """The names of arguments, none if they are given by position, and the tensors."""
    arguments: list[str] = []
    if isinstance(example, Mapping):
        arguments, given = list(map(str, example)), list(example.values())
    else:
        given = list(example) if isinstance(example, tuple | list) else [example]
    tensors = [each.detach().cpu() for each in given if isinstance(each, Tensor) and each.ndim]
    n_rows = {len(tensor) for tensor in tensors}
    if len(tensors) != len(given) or len(n_rows) != 1 or 0 in n_rows:
        raise TrainingError(
            "the example must be a batch: a tensor, a tuple of tensors or tensors by name, all "
            "with one row or more, and as many"
        )
    return arguments, tensors


def _repeated(tensor: Tensor, n_rows: int) -> Tensor:
    """Its first rows, again and again if it has fewer."""
    return tensor[torch.arange(n_rows) % len(tensor)]


def _named(outputs: Tensor | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return {"": outputs} if isinstance(outputs, Tensor) else outputs


def _form(name: str, tensor: Tensor) -> TensorForm:
    """Raises TypeError for a dtype that NumPy does not have."""
    dtype = torch.empty(0, dtype=tensor.dtype).numpy().dtype.name
    return TensorForm(name, dtype, tuple(tensor.shape[1:]))


@contextmanager
def _evaluated_on_cpu(module: nn.Module) -> Iterator[None]:
    """The module in eval mode and on the CPU inside; as it was afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    devices = {tensor.device for tensor in chain(module.parameters(), module.buffers())}
    device = next(iter(devices), torch.device("cpu"))
    rng = capture_rng_state(device)
    try:
        module.cpu().eval()
        yield
    finally:
        module.to(device)
        for part, is_training in modes:
            part.training = is_training
        restore_rng_state(rng, device)


def forget_lines(program: ExportedProgram) -> None:
    """Drop which line of which file made each operation: paths of this machine, and long."""
    for part in program.graph_module.modules():
        if isinstance(part, GraphModule):
            for node in part.graph.nodes:
                node.meta.pop("stack_trace", None)


def check_answers(exported: Any, own: Any) -> None:
    """See that a program answers what the module does.

    Args:
        exported: A tensor, or tensors by name.
        own: As ``exported``.

    Raises:
        ValueError: If it does not.
    """
    theirs, ours = _named(exported), _named(own)
    if theirs.keys() != ours.keys() or not all(
        torch.allclose(theirs[name].double(), ours[name].double(), rtol=1e-4, atol=1e-5)
        for name in ours
    ):
        raise ValueError("the exported model answers otherwise than the model itself")


def requirements(module: nn.Module) -> list[str]:
    """Exact installed versions of what runs its program; inferring them costs seconds a model."""
    origins = {type(part).__module__.partition(".")[0] for part in module.modules()}
    return list(map(pinned, ["torch", "torchvision"] if "torchvision" in origins else ["torch"]))


def pinned(package: str) -> str:
    """The installed version of a package, as pip writes it."""
    return f"{package}=={version(package).partition('+')[0]}"
