"""Rows -> batches on the device."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

#: What is made of the inputs of a batch, on the device.
Prepare = Callable[[Tensor], Tensor]
#: Batches of which rows of about the same length are shuffled together: all that much less is
#: padding, and a batch still holds other rows in each epoch.
_WINDOW = 32


class Split(Protocol):
    """Rows that are trained on, or that are held out.

    Where samples differ in their length, a batch is as long as its longest. Shuffled rows are
    sorted by length within windows of 32 batches, and these batches shuffled; others are sorted
    as a whole.
    """

    @property
    def n_rows(self) -> int:
        """Rows of this split, > 0."""

    def batches(
        self, batch_size: int, *, generator: Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the rows.

        Args:
            batch_size: Rows of each batch but the last, > 0.
            generator: Shuffles the rows by one ``torch.randperm``, and batches of rows that were
                sorted by a second one; the same state gives the same order in every
                implementation. None keeps the order of the rows, or sorts them.
            skip: Batches at the start that are left out and not loaded, >= 0. The order is drawn
                all the same, so the others are those of a whole pass.

        Yields:
            Inputs [B, ...], normalised float32 where the data are uint8, and targets of the task
            (int64 [B], bool [B, n_outputs] or float32 [B, n_outputs]), both on the device. When
            shuffling, a last batch of a single row is dropped if others came before it, as batch
            normalisation cannot train on one row.
        """


class Normalisation:
    """uint8 in 0..255 -> float32 of mean 0 and standard deviation 1 per channel."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        input_shape: Sequence[int],
        device: torch.device,
    ) -> None:
        shape = (-1, 1, 1) if len(input_shape) == 3 else (-1,)  # [C, 1, 1] or [1]
        means = torch.tensor(mean, dtype=torch.float64).view(shape)
        stds = torch.tensor(std, dtype=torch.float64).view(shape)
        self._scale = (1 / (255 * stds)).to(device, torch.float32)
        self._shift = (-means / stds).to(device, torch.float32)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs uint8 [B, ...] -> float32 [B, ...]."""
        # Converted apart: a product of mixed types takes half as long again on a CPU.
        return inputs.float().mul_(self._scale).add_(self._shift)


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
        self._inputs = inputs
        self._targets = targets
        self._rows = rows
        self._prepare = prepare
        self._lengths = lengths
        self.n_rows = len(rows)

    def batches(
        self, batch_size: int, *, generator: Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`Split`."""
        for rows, length in _chunks(self._rows, self._lengths, batch_size, generator)[skip:]:
            inputs = self._inputs[..., :length].index_select(0, rows)
            if self._prepare is not None:
                inputs = self._prepare(inputs)
            yield inputs, self._targets.index_select(0, rows)


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

    def batches(
        self, batch_size: int, *, generator: Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`Split`."""
        chunks = _chunks(self._rows, self._lengths, batch_size, generator)[skip:]
        loader = self._loader([rows for rows, _ in chunks])
        for (inputs, targets), (_, length) in zip(loader, chunks, strict=True):
            inputs = self._bring(inputs[..., :length])
            if self._prepare is not None:
                inputs = self._prepare(inputs)
            elif inputs.dtype == torch.float64:
                inputs = inputs.float()
            yield inputs, self._bring(targets)

    def _bring(self, rows: Tensor) -> Tensor:
        """To the device; from pinned memory a GPU fetches while the host makes the next batch."""
        if self._device.type != "cuda" or rows.device.type != "cpu":
            return rows.to(self._device)
        return rows.pin_memory().to(self._device, non_blocking=True)

    def _loader(self, chunks: Sequence[Tensor]) -> "DataLoader[Any]":
        # A loader draws a seed at the start of each pass; left alone, from the global generator,
        # and then dropout would depend on how often somebody validates.
        seeds = Generator()
        load = partial(DataLoader[Any], self._dataset, num_workers=0, generator=seeds)
        if isinstance(self._dataset, TensorDataset):  # takes all rows of a batch as one index
            return load(batch_size=None, sampler=chunks)
        return load(batch_sampler=[chunk.tolist() for chunk in chunks])


def _chunks(
    rows: Tensor, lengths: Tensor | None, batch_size: int, generator: Generator | None
) -> Sequence[tuple[Tensor, int | None]]:
    """The rows of each batch and the length of its longest, None where all are alike."""
    order = None
    if generator is not None:
        order = torch.randperm(len(rows), generator=generator, device=generator.device)
        if len(rows) % batch_size == 1 < batch_size < len(rows):
            order = order[:-1]
    if lengths is None:
        ordered = rows if order is None else rows[_brought(order, rows.device)]
        return [(chunk, None) for chunk in torch.split(ordered, batch_size)]
    order = _sorted(lengths, order, batch_size)
    chunks = torch.split(rows[_brought(order, rows.device)], batch_size)
    ends = [
        min(end, len(order)) - 1 for end in range(batch_size, len(order) + batch_size, batch_size)
    ]
    longest = lengths[order[ends]].tolist()
    found = list(zip(chunks, longest, strict=True))
    if generator is None:
        return found
    places = torch.randperm(len(found), generator=generator, device=generator.device)
    return [found[place] for place in places.tolist()]


def _sorted(lengths: Tensor, order: Tensor | None, batch_size: int) -> Tensor:
    """An order of rows [n] sorted by their lengths, window by window; all rows if it is None."""
    if order is None:
        return lengths.argsort(stable=True)
    order = order.to(lengths.device)
    window = torch.arange(len(order)) // (_WINDOW * batch_size)
    keys = window * (lengths.max() + 1) + lengths[order]
    return order[keys.argsort(stable=True)]


def _brought(order: Tensor, device: torch.device) -> Tensor:
    is_pinned = device.type == "cuda" and order.device.type == "cpu"
    if is_pinned:  # else the copy waits for all that the GPU has yet to do
        order = order.pin_memory()
    return order.to(device, non_blocking=is_pinned)
