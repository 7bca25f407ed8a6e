"""Rows -> batches on the device."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset


class Split(Protocol):
    """Rows that are trained on, or that are held out."""

    @property
    def n_rows(self) -> int:
        """Rows of this split, > 0."""

    def batches(
        self, batch_size: int, *, generator: Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the rows.

        Args:
            batch_size: Rows of each batch but the last, > 0.
            generator: Shuffles the rows by one ``torch.randperm``; the same state gives the same
                order in every implementation. None keeps their order.
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
    """Rows of tensors that lie on the device; one gather a batch, no per-sample Python."""

    def __init__(
        self, inputs: Tensor, targets: Tensor, rows: Tensor, normalise: Normalisation | None
    ) -> None:
        self._inputs = inputs
        self._targets = targets
        self._rows = rows
        self._normalise = normalise
        self.n_rows = len(rows)

    def batches(
        self, batch_size: int, *, generator: Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`Split`."""
        for rows in _chunks(self._rows, batch_size, generator)[skip:]:
            inputs = self._inputs.index_select(0, rows)
            if self._normalise is not None:
                inputs = self._normalise(inputs)
            yield inputs, self._targets.index_select(0, rows)


class LoaderSplit:
    """Rows that come through a ``DataLoader``: a user's ``Dataset``, or tensors too big to stay.

    The loader has no processes of its own: the trial workers fill the cores already, and one
    process per loader keeps random transforms reproducible.
    """

    def __init__(
        self,
        dataset: "Dataset[Any]",
        rows: Tensor,
        normalise: Normalisation | None,
        *,
        device: torch.device,
    ) -> None:
        self._dataset = dataset
        self._rows = rows
        self._normalise = normalise
        self._device = device
        self.n_rows = len(rows)

    def batches(
        self, batch_size: int, *, generator: Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """See :class:`Split`."""
        chunks = _chunks(self._rows, batch_size, generator)
        for inputs, targets in self._loader(chunks[skip:]):
            inputs = self._bring(inputs)
            if self._normalise is not None:
                inputs = self._normalise(inputs)
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


def _chunks(rows: Tensor, batch_size: int, generator: Generator | None) -> tuple[Tensor, ...]:
    if generator is None:
        return torch.split(rows, batch_size)
    order = torch.randperm(len(rows), generator=generator, device=generator.device)
    is_pinned = rows.is_cuda and order.device.type == "cpu"
    if is_pinned:  # else the copy waits for all that the GPU has yet to do
        order = order.pin_memory()
    chunks = torch.split(rows[order.to(rows.device, non_blocking=is_pinned)], batch_size)
    ends_alone = len(chunks[-1]) == 1 < batch_size and len(chunks) > 1
    return chunks[:-1] if ends_alone else chunks
