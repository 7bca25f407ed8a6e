"""Batches that a learner is given at once."""

from collections.abc import Callable, Iterable, Iterator
from typing import Self

from torch import Tensor

from sweeper.data.batches import Batch, Pass, Table, TablePass
from sweeper.timing import Entry, TimeLedger
from sweeper.training.seed import BatchSeeds


class Stretch:
    """Batches of a pass that follow each other: an iterator, which loads each as it is asked for.

    Args:
        batches: Of which it has the next ones.
        n_left: So many, at most those that the pass has left.
        ledger: Where loading is booked.
        seeds: Seed the random generators for each batch; None to leave them as they are.
        number: Of the first of them among all batches of the trial.

    Attributes:
        n_left: Batches that are to come.
        number: Of the next of them.
    """

    def __init__(
        self,
        batches: Pass,
        n_left: int,
        *,
        ledger: TimeLedger,
        seeds: BatchSeeds | None,
        number: int,
    ) -> None:
        self._batches = batches
        self.n_left = n_left
        self._ledger = ledger
        self._seeds = seeds
        self.number = number

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        if not self.n_left:
            raise StopIteration
        if self._seeds is not None:
            self._seeds.use(self.number)
        self._count(1)
        with self._ledger.booked(Entry.DATA):
            return next(self._batches)

    @property
    def is_last(self) -> bool:
        """Whether the pass has no batches behind those of the stretch."""
        return self.n_left == self._batches.n_left

    @property
    def table(self) -> Table | None:
        """Of the rows that all batches consist of; None if they have to be loaded."""
        return self._batches.table if isinstance(self._batches, TablePass) else None

    def seed(self, number: int) -> None:
        """Seed the random generators for the batch of that number."""
        if self._seeds is not None:
            self._seeds.use(number)

    def keys(self, numbers: Iterable[int]) -> list[int] | None:
        """By which dropouts draw for batches of these numbers; None if torch's generator does."""
        return None if self._seeds is None else self._seeds.keys(numbers)

    def take(self, n_batches: int) -> Tensor:
        """The rows of the next batches, see :meth:`~sweeper.data.batches.TablePass.take`."""
        assert isinstance(self._batches, TablePass)
        rows = self._batches.take(min(n_batches, self.n_left))
        self._count(len(rows))
        return rows

    def _count(self, n_batches: int) -> None:
        self.n_left -= n_batches
        self.number += n_batches


def stretches(
    batches: Pass,
    most: Callable[[], int],
    *,
    ledger: TimeLedger,
    seeds: BatchSeeds | None,
    number: int,
) -> Iterator[Stretch]:
    """All of a pass, in stretches of so many batches, or of one where they have to be loaded.

    Args:
        batches: The pass.
        most: Tells how many batches the next stretch may have, >= 1.
        ledger: As of :class:`Stretch`.
        seeds: As of :class:`Stretch`.
        number: Of the first batch.
    """
    while batches.n_left:
        n = min(most() if isinstance(batches, TablePass) else 1, batches.n_left)
        yield Stretch(batches, n, ledger=ledger, seeds=seeds, number=number)
        number += n
