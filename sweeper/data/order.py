"""In which order the rows of a split are taken, and which of them are a batch."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator, Tensor

#: The rows of each batch, int64 on their device, and the length of its longest; None where all are
#: alike.
Chunks = Sequence[tuple[Tensor, int | None]]
#: Batches of which rows of about the same length are shuffled together: all that much less is
#: padding, and a batch still holds other rows in each epoch.
_WINDOW = 32


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


def rows_in_order(rows: Tensor, batch_size: int, shuffle: Shuffle | None) -> Tensor:
    """The rows of a pass, int64 [n] on their device; as they are unless they are shuffled."""
    order = _shuffled(len(rows), batch_size, shuffle)
    return rows if order is None else rows[to_device(order, rows.device)]


def chunks_in_order(
    rows: Tensor, lengths: Tensor | None, batch_size: int, shuffle: Shuffle | None
) -> Chunks:
    """The batches of a pass; see :class:`~sweeper.data.batches.Split`.

    Args:
        rows: Of the split.
        lengths: Of each of them, int64 [n_rows] on the CPU; None where all are alike.
        batch_size: Rows of each batch but the last, > 0.
        shuffle: Gives the order of the rows, and that of batches of rows that were sorted.
    """
    if lengths is None:
        parts = torch.split(rows_in_order(rows, batch_size, shuffle), batch_size)
        return [(part, None) for part in parts]
    order = _sorted(lengths, _shuffled(len(rows), batch_size, shuffle), batch_size)
    parts = torch.split(rows[to_device(order, rows.device)], batch_size)
    ends = [
        min(end, len(order)) - 1 for end in range(batch_size, len(order) + batch_size, batch_size)
    ]
    longest = lengths[order[ends]].tolist()
    chunks = list(zip(parts, longest, strict=True))
    if shuffle is None:
        return chunks
    return [chunks[place] for place in shuffle.order(len(chunks)).tolist()]


def _shuffled(n_rows: int, batch_size: int, shuffle: Shuffle | None) -> Tensor | None:
    """An order of rows, without one that would be a batch by itself; None unless shuffled."""
    if shuffle is None:
        return None
    order = shuffle.order(n_rows)
    return order[:-1] if n_rows % batch_size == 1 < batch_size < n_rows else order


def _sorted(lengths: Tensor, order: Tensor | None, batch_size: int) -> Tensor:
    """An order of rows [n] sorted by their lengths, window by window; all rows if it is None."""
    if order is None:
        return lengths.argsort(stable=True)
    window = torch.arange(len(order)) // (_WINDOW * batch_size)
    keys = window * (lengths.max() + 1) + lengths[order]
    return order[keys.argsort(stable=True)]


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """The same on a device; no copy from the CPU waits for what a GPU has yet to do."""
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
