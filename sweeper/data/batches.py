"""Rows -> batches on the device."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any, Protocol, Self

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sweeper.data.order import Chunks, Shuffle, chunks_in_order, rows_in_order, to_device

#: Inputs and targets.
Batch = tuple[Tensor, Tensor]
#: What is made of the inputs of a batch, on the device, of each row by itself.
Prepare = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Table:
    """Rows that lie on the device, any of which are a batch.

    Attributes:
        inputs: Of all rows.
        targets: Of all rows.
        prepare: Of a batch; None to take the inputs as they are.
    """

    inputs: Tensor
    targets: Tensor
    prepare: Prepare | None

    def batch(self, rows: Tensor, length: int | None = None) -> Batch:
        """Some rows by one gather; no Python per sample.

        Args:
            rows: int64 [B] on the device.
            length: Of the last axis, behind which all is padding; None for all of it.
        """
        inputs = self.inputs[..., :length].index_select(0, rows)
        if self.prepare is not None:
            inputs = self.prepare(inputs)
        return inputs, self.targets.index_select(0, rows)


class Pass(ABC):
    """One pass over the rows of a split: an iterator over its batches.

    Attributes:
        n_left: Batches that are to come.
    """

    def __init__(self, n_left: int) -> None:
        self.n_left = n_left

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        if not self.n_left:
            raise StopIteration
        batch = self._next()
        self.n_left -= 1
        return batch

    @abstractmethod
    def _next(self) -> Batch: ...


class LoadedPass(Pass):
    """A pass whose batches are loaded one by one.

    Args:
        batches: All that are left.
        n_left: So many.
    """

    def __init__(self, batches: Iterator[Batch], n_left: int) -> None:
        super().__init__(n_left)
        self._batches = batches

    def _next(self) -> Batch:
        return next(self._batches)


class TablePass(Pass):
    """A pass over a table, of which several batches may be had as numbers of rows.

    Args:
        table: Of the rows.
        rows: In their order, int64 [n] on the device.
        batch_size: Rows of each batch but the last, > 0.

    Attributes:
        table: Of the rows.
    """

    def __init__(self, table: Table, rows: Tensor, batch_size: int) -> None:
        self._n_rows = len(rows)
        self._n_batches = ceil(self._n_rows / batch_size)
        super().__init__(self._n_batches)
        self.table = table
        self._rows = rows
        self._batch_size = batch_size
        self._chunks: Sequence[Tensor] | None = None  # which take time, and may not be needed

    def _next(self) -> Batch:
        if self._chunks is None:
            self._chunks = torch.split(self._rows, self._batch_size)
        return self.table.batch(self._chunks[-self.n_left])

    def take(self, n_batches: int) -> Tensor:
        """The rows of the next batches, which count as had: int64 [n, B], n >= 1.

        Args:
            n_batches: At most so many, >= 1; fewer if there are no more, or the last is shorter.
        """
        first = (self._n_batches - self.n_left) * self._batch_size
        n = max(1, min(n_batches, (self._n_rows - first) // self._batch_size))
        self.n_left -= n
        return self._rows[first : first + n * self._batch_size].view(n, -1)


class Split(Protocol):
    """Rows that are trained on, or that are held out.

    Where samples differ in their length, a batch is as long as its longest. Shuffled rows are
    sorted by length within windows of 32 batches, and these batches shuffled; others are sorted
    as a whole.
    """

    @property
    def n_rows(self) -> int:
        """Rows of this split, > 0."""

    @property
    def is_table(self) -> bool:
        """Whether each pass is a :class:`TablePass`."""

    def batches(self, batch_size: int, *, shuffle: Shuffle | None = None, skip: int = 0) -> Pass:
        """One pass over the rows.

        Args:
            batch_size: Rows of each batch but the last, > 0.
            shuffle: Gives the order of the rows, and then that of batches of rows that were
                sorted; the same state gives the same batches in every implementation. None keeps
                the order of the rows, or sorts them.
            skip: Batches at the start that are left out and not loaded, >= 0. The order is drawn
                all the same, so the others are those of a whole pass.

        Returns:
            Of batches of inputs [B, ...], normalised float32 where the data are uint8, and targets
            of the task (int64 [B], bool [B, n_outputs] or float32 [B, n_outputs]), both on the
            device. When shuffling, a last batch of a single row is dropped if others came before
            it, as batch normalisation cannot train on one row.
        """


class ResidentSplit:
    """Rows of tensors that lie on the device; one gather a batch, no per-sample Python.

    Args:
        inputs: Of all rows.
        targets: Of all rows.
        rows: Of this split, int64 on the device.
        prepare: Of a batch; None to take the inputs as they are.
        lengths: Of each row of this split, int64 [n_rows] on the CPU, so that no batch waits for
            the device; None where all are alike. What is behind it on the last axis is padding.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        rows: Tensor,
        prepare: Prepare | None,
        lengths: Tensor | None = None,
    ) -> None:
        self._table = Table(inputs, targets, prepare)
        self._rows = rows
        self._lengths = lengths
        self.n_rows = len(rows)

    @property
    def is_table(self) -> bool:
        """See :class:`Split`."""
        return self._lengths is None

    def batches(self, batch_size: int, *, shuffle: Shuffle | None = None, skip: int = 0) -> Pass:
        """See :class:`Split`."""
        if self._lengths is None:
            rows = rows_in_order(self._rows, batch_size, shuffle)[skip * batch_size :]
            return TablePass(self._table, rows, batch_size)
        chunks = chunks_in_order(self._rows, self._lengths, batch_size, shuffle)[skip:]
        return LoadedPass((self._table.batch(*chunk) for chunk in chunks), len(chunks))


class LoaderSplit:
    """Rows that come through a ``DataLoader``: a user's ``Dataset``, or tensors too big to stay.

    The loader has no processes of its own: the trial workers fill the cores already, and one
    process per loader keeps random transforms reproducible.

    Args:
        dataset: Of all rows.
        rows: As of :class:`ResidentSplit`, on the CPU, and so are the others.
        prepare: Of a batch, on the device.
        device: Where batches are yielded.
        lengths: Of each row of this split.
    """

    def __init__(
        self,
        dataset: "Dataset[Any]",
        rows: Tensor,
        prepare: Prepare | None,
        *,
        device: torch.device,
        lengths: Tensor | None = None,
    ) -> None:
        self._dataset = dataset
        self._rows = rows
        self._prepare = prepare
        self._device = device
        self._lengths = lengths
        self.n_rows = len(rows)

    @property
    def is_table(self) -> bool:
        """See :class:`Split`."""
        return False

    def batches(self, batch_size: int, *, shuffle: Shuffle | None = None, skip: int = 0) -> Pass:
        """See :class:`Split`."""
        chunks = chunks_in_order(self._rows, self._lengths, batch_size, shuffle)[skip:]
        return LoadedPass(self._loaded(chunks), len(chunks))

    def _loaded(self, chunks: Chunks) -> Iterator[Batch]:
        loader = self._loader([rows for rows, _ in chunks])
        for (inputs, targets), (_, length) in zip(loader, chunks, strict=True):
            inputs = to_device(inputs[..., :length], self._device)
            if self._prepare is not None:
                inputs = self._prepare(inputs)
            elif inputs.dtype == torch.float64:
                inputs = inputs.float()
            yield inputs, to_device(targets, self._device)

    def _loader(self, chunks: Sequence[Tensor]) -> "DataLoader[Any]":
        # A loader draws a seed at the start of each pass; left alone, from the global generator,
        # and then dropout would depend on how often somebody validates.
        seeds = Generator()
        load = partial(DataLoader[Any], self._dataset, num_workers=0, generator=seeds)
        if isinstance(self._dataset, TensorDataset):  # takes all rows of a batch as one index
            return load(batch_size=None, sampler=chunks)
        return load(batch_sampler=[chunk.tolist() for chunk in chunks])
