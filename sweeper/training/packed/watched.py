"""Whether a network of the user's own does the same in each batch, as a captured program does.

What it decides in Python would else be decided once, for all batches.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

#: Where a module keeps what torch knows of it.
_OF_TORCH = frozenset(vars(nn.Module()))


@dataclass(frozen=True)
class Watched:
    """What a batch came to.

    Attributes:
        calls: The operations, with all that they were given but for the contents of tensors.
        reason: Why it cannot be captured; None if nothing speaks against it.
    """

    calls: list[str]
    reason: str | None


def watch(body: Callable[[], None], model: nn.Module) -> Watched:
    """Do a batch, and see whether it leaves anything behind that another might hang on.

    Args:
        body: Does it.
        model: That it calls.
    """
    before, drawn = _attributes(model), _generators()
    with _Calls() as calls:
        body()
    reason = None
    if changed := _changed(before, _attributes(model)):
        reason = f"its forward pass changes {changed}"
    elif _generators() != drawn:
        reason = "its forward pass draws from Python's or NumPy's random generator"
    return Watched(calls.seen, reason)


def difference(batches: Sequence[Watched]) -> str | None:
    """Why a program that does what one of these batches did cannot stand for others; or None."""
    for watched in batches:
        if watched.reason is not None:
            return watched.reason
    if any(watched.calls != batches[0].calls for watched in batches):
        return "its forward pass is not the same in all batches"
    return None


def _attributes(model: nn.Module) -> dict[str, object]:
    """What its modules keep beside parameters, buffers and modules, by name."""
    return {
        f"{name}.{key}".lstrip("."): _content(value)
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if key not in _OF_TORCH
    }


def _content(value: object) -> object:
    """Equal for equal numbers and texts, wherever they are, and for the same other objects."""
    if isinstance(value, list | tuple | set | frozenset):
        return type(value), tuple(map(_content, value))
    if isinstance(value, dict):
        return tuple((key, _content(item)) for key, item in value.items())
    is_plain = value is None or isinstance(value, bool | int | float | complex | str | bytes)
    return value if is_plain else id(value)


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """The first attribute that is another one; empty if all are as they were."""
    names = {**before, **after}
    return next((name for name in names if before.get(name) != after.get(name)), "")


def _generators() -> tuple[object, ...]:
    return random.getstate(), str(np.random.get_state(legacy=False))


class _Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes each operation on tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = tree_map_only(Tensor, _form, (args, kwargs or {}))
        self.seen.append(f"{func}{given}")
        return func(*args, **(kwargs or {}))


def _form(tensor: Tensor) -> str:
    return f"{tensor.dtype}{list(tensor.shape)}"
