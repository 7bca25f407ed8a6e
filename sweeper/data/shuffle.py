"""In which order the rows of a trial are trained on."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class _Ahead:
    """An order that nobody has asked for yet.

    Attributes:
        state: Of the generator before it.
        order: As it will be.
    """

    state: Tensor
    order: Future[Tensor]


class Shuffle:
    """Draws orders, each by one ``torch.randperm`` that goes on where the one before has ended.

    Args:
        seed: In [0, 2**63).
    """

    def __init__(self, seed: int) -> None:
        self._generator = Generator().manual_seed(seed)
        self._ahead: _Ahead | None = None

    @property
    def state(self) -> Tensor:
        """From which the next order is drawn, uint8 of torch's own form."""
        return self._generator.get_state() if self._ahead is None else self._ahead.state

    @state.setter
    def state(self, state: Tensor) -> None:
        if self._ahead is not None:
            self._ahead.order.result()  # which may change the generator until then
            self._ahead = None
        self._generator.set_state(state)

    def order(self, n: int) -> Tensor:
        """A permutation of ``range(n)``, int64 on the CPU."""
        if self._ahead is not None:
            order = self._ahead.order.result()
            if len(order) == n:
                self._ahead = None
                return order
            self.state = self.state
        return torch.randperm(n, generator=self._generator)

    def draw_ahead(self, n: int) -> None:
        """Have the next order, of ``n``, drawn by another thread until it is asked for.

        It is the same one, and so are those behind it, whether it is ever asked for or not.
        """
        if self._ahead is None:
            state = self._generator.get_state()
            order = _thread(os.getpid()).submit(torch.randperm, n, generator=self._generator)
            self._ahead = _Ahead(state, order)


@cache
def _thread(process: int) -> ThreadPoolExecutor:
    """That draws for all trials of a process; a fork has no threads of its parent's."""
    return ThreadPoolExecutor(1, thread_name_prefix="shuffle")
