"""Whether a network of the user's own does the same in each batch, as a captured program does.

What it decides in Python would else be decided once, for all batches.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

#: Where a module keeps what torch knows of it.
_OF_TORCH = frozenset(vars(nn.Module()))
#: Operations of which the host has to know what a tensor holds, and those that may bring some.
_TAGS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
_COPIES = (torch.ops.aten._to_copy, torch.ops.aten.copy_)
_INDEX = torch.ops.aten.index


@dataclass(frozen=True)
class Watched:
    """What a batch came to.

    Attributes:
        calls: The operations, with all that they were given but for the contents of tensors.
        reason: Why what another batch comes to might hang on it; None if it leaves nothing behind.
        on_host: The first operation that needs the host; empty if none does.
    """

    calls: list[str]
    reason: str | None
    on_host: str


def watch(body: Callable[[], None], model: nn.Module, device: torch.device) -> Watched:
    """Do a batch, and note all that it does.

    The first call in a process takes more than a second: torch imports its compiler for it.

    Args:
        body: Does it.
        model: That it calls.
        device: On which it computes.
    """
    with _Calls() as calls:
        reason = reason_left(body, model, device)
    return Watched(calls.seen, reason, calls.on_host)


def reason_left(body: Callable[[], object], model: nn.Module, device: torch.device) -> str | None:
    """Do a batch; why what another comes to might hang on it, None if it leaves nothing behind.

    Args:
        body: Does it.
        model: That it calls.
        device: On which it computes.
    """
    kept, drawn = Kept(model), _generators(device)
    body()
    if changed := kept.changed():
        return f"its forward pass changes {changed}"
    if _generators(device) != drawn:
        return "its forward pass draws random numbers, and not by nn.Dropout"
    return None


def difference(batches: Sequence[Watched]) -> str | None:
    """Why a program that does what one of these batches did cannot stand for others; or None."""
    for watched in batches:
        if watched.reason is not None:
            return watched.reason
        if watched.on_host:
            return f"its forward pass needs the host for {watched.on_host}"
    if any(watched.calls != batches[0].calls for watched in batches):
        return "its forward pass is not the same in all batches"
    return None


class Kept:
    """What the modules of a network keep now, of tensors which they are.

    Args:
        model: The network.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._attributes = _attributes(model)

    def changed(self) -> str:
        """The first attribute that is another one by now; empty if all are as they were."""
        before, after = self._attributes, _attributes(self._model)
        names = {**before, **after}
        return next((name for name in names if before.get(name) != after.get(name)), "")


class _Itself:
    """Equal for the same object alone, which lives so long that no other can be taken for it."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other._value is self._value

    __hash__ = None  # type: ignore[assignment]


def _attributes(model: nn.Module) -> dict[str, object]:
    """By name."""
    return {
        f"{name}.{key}".lstrip("."): _content(value)
        for name, module in model.named_modules()
        for key, value in {**vars(module), **module._buffers, **module._parameters}.items()
        if key not in _OF_TORCH
    }


def _content(value: object) -> object:
    """Equal for equal numbers and texts, wherever they are, and for the same other objects."""
    if isinstance(value, list | tuple | set | frozenset):
        return type(value), tuple(map(_content, value))
    if isinstance(value, dict):
        return tuple((key, _content(item)) for key, item in value.items())
    is_plain = value is None or isinstance(value, bool | int | float | complex | str | bytes)
    return value if is_plain else _Itself(value)


def _generators(device: torch.device) -> tuple[object, ...]:
    """State of those from which a captured program does not draw.

    That of a GPU is among them, as graphs of several streams share it.
    """
    of_torch = [] if device.type == "cpu" else [torch.get_rng_state().tolist()]
    if device.type == "cuda":
        of_torch.append(torch.cuda.get_rng_state(device).tolist())
    return random.getstate(), str(np.random.get_state(legacy=False)), of_torch


class _Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes each operation on tensors, and the first one that needs the host."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []
        self.on_host = ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = tree_map_only(Tensor, _form, (args, kwargs or {}))
        self.seen.append(f"{func}{given}")
        found = func(*args, **(kwargs or {}))
        if not self.on_host and _needs_host(func, (args, kwargs, found)):
            self.on_host = str(func.overloadpacket)
        return found


def _needs_host(func: Any, values: Any) -> bool:
    """Whether the device has to be waited for.

    Args:
        func: The operation.
        values: What it was given, and what it returned.
    """
    tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
    if func.overloadpacket in _COPIES:
        return len({each.device for each in tensors}) > 1
    if func.overloadpacket is _INDEX:  # by numbers of rows, what it returns has their shape
        return any(each.dtype == torch.bool for each in tensors[1:-1])
    return not _TAGS.isdisjoint(func.tags)


def _form(tensor: Tensor) -> str:
    return f"{tensor.dtype}{list(tensor.shape)}"
