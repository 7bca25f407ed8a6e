"""What a CUDA graph does, on a CPU: operations are recorded once, and repeated in place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

#: What a graph cannot hold: numbers that come from the device, or from Python's memory.
_NEEDS_HOST = ("_local_scalar_dense", "lift_fresh", "lift_fresh_copy", "nonzero", "is_nonzero")

#: What changes no memory.
_TURNS = ("transpose_", "t_", "squeeze_", "unsqueeze_", "as_strided_", "detach_")


class Tape(TorchDispatchMode):
    """Records each operation on tensors; raises where one needs the host."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in _NEEDS_HOST:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        # As they are now: what comes later may turn their axes in place.
        given = tree_map_only(Tensor, Tensor.detach, (args, kwargs or {}))
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ not in _TURNS:
            self._calls.append((func, *given, [each.detach() for each in _tensors(found)]))
        return found

    def play(self) -> None:
        """Do all operations again; what was new memory when they were recorded is filled."""
        with torch.no_grad():
            for func, args, kwargs, outputs in self._calls:
                for old, new in zip(outputs, _tensors(func(*args, **kwargs)), strict=True):
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def _tensors(found: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]


class TapeCapture:
    """See :class:`~sweeper.training.packed.capture.Capture`; all is done at once.

    Attributes:
        n_captured: Programs.
        n_replayed: Times that one was replayed.
    """

    def __init__(self) -> None:
        self.n_captured = 0
        self.n_replayed = 0

    @property
    def latest_s(self) -> float:
        return 1e-3

    @property
    def n_under_way(self) -> int:
        return 0

    @contextmanager
    def running(self) -> Iterator[None]:
        yield

    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        state = torch.get_rng_state()
        tape = _Undone()
        try:
            with tape:
                body()
        finally:
            tape.undo()
            torch.set_rng_state(state)
        self.n_captured += 1

        def replay() -> None:
            self.n_replayed += 1
            tape.play()

        return replay

    def give_back(self) -> None:
        """Nothing is kept."""

    def wait(self) -> None:
        """Nothing is left to do."""


class _Undone(Tape):
    """A tape that can put back what was written over, as recording alone changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Of all arguments: which of them batch normalisation writes to, its schema does not say.
        for each in _tensors((args, kwargs)):
            storage = each.untyped_storage()
            self._kept.setdefault(storage.data_ptr(), (storage, storage.clone()))
        return super().__torch_dispatch__(func, types, args, kwargs)

    def undo(self) -> None:
        """Put back all that was there before."""
        for storage, before in self._kept.values():
            storage.copy_(before)
