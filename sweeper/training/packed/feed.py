"""What differs from batch to batch, for a program that does the same in each."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sweeper.training.packed.member import Member
from sweeper.training.packed.numbers import N_NUMBERS, table_of
from sweeper.training.packed.work import RowsWork


class Feed:
    """Tables with a row for each batch of a stretch, and a counter that says which is under way.

    All of it is on the device, where the program itself moves the counter on.

    Args:
        members: That are computed.
        work: Of any of them.
        like: Of the dtype of parameters, on their device.
        most: Batches of a stretch at most.
        draws: Whether members draw.

    Attributes:
        most: As it was given.
        batch_size: Samples of a batch of each member.
        has_keys: Whether members draw by keys.
    """

    def __init__(
        self, members: Sequence[Member], work: RowsWork, *, like: Tensor, most: int, draws: bool
    ) -> None:
        self._members = members
        self._is_training = work.is_training
        self.most = most
        self.batch_size = work.rows.shape[1]
        self.has_keys = draws and work.keys(1) is not None
        self._rows = self._new_table(self.batch_size, like.device)
        self._keys = self._new_table(1, like.device)[..., 0]
        self._numbers = like.new_zeros(most, N_NUMBERS, len(members), 1)
        self._at = torch.zeros(1, dtype=torch.int64, device=like.device)

    def _new_table(self, width: int, device: torch.device) -> Tensor:
        shape = (self.most, len(self._members), width)
        return torch.zeros(shape, dtype=torch.int64, device=device)

    def load(self, works: Sequence[RowsWork], n_batches: int) -> None:
        """Take the next batches of each member, and begin with the first of them."""
        self._rows[:n_batches].copy_(torch.stack([work.rows[:n_batches] for work in works], 1))
        if self._is_training:
            _fill(self._numbers, table_of(self._members, n_batches))
        if self.has_keys:
            keys = torch.tensor([work.keys(n_batches) for work in works])
            _fill(self._keys, keys.T.contiguous())
        self._at.zero_()

    def rows(self) -> Tensor:
        """Of the batch of each member, int64 [K, B]."""
        return self._now(self._rows)

    def keys(self) -> Tensor | None:
        """By which each draws, int64 [K]; None if torch's generator does, or nobody draws."""
        return self._now(self._keys) if self.has_keys else None

    def numbers(self) -> Tensor:
        """Of the update, see :func:`~sweeper.training.packed.numbers.numbers_from`."""
        return self._now(self._numbers)

    def put(self, values: Tensor, table: Tensor) -> None:
        """Write what the batch came to in its row of another table."""
        table.index_copy_(0, self._at, values[None])

    def advance(self) -> None:
        """Go on to the next batch."""
        self._at.add_(1)

    def _now(self, table: Tensor) -> Tensor:
        return table.index_select(0, self._at)[0]


def _fill(table: Tensor, rows: Tensor) -> None:
    """Write the first rows; a copy to a GPU waits for it unless it comes from pinned memory."""
    rows = rows.to(table.dtype)
    if table.is_cuda:
        rows = rows.pin_memory()
    table[: len(rows)].copy_(rows, non_blocking=True)
