"""Rows as they were loaded, then as a trial sees them, by what its training rows say."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sweeper.data.channels import ChannelSums
from sweeper.data.content import ArrayForm, CacheEntry
from sweeper.data.labelled.labels import Labels
from sweeper.data.preprocessing import Preprocessing
from sweeper.trial import Features, Task, Tokens


class Rows(Protocol):
    """All rows that a trial may read, before they are parted."""

    @property
    def targets(self) -> Tensor:
        """As :func:`~sweeper.data.targets.read_targets` returns them."""

    @property
    def task(self) -> Task:
        """Of the targets."""

    @property
    def marks(self) -> Tensor | None:
        """Of each row its group, or 1 where it is held out, int [N]; None where a share is."""

    def fit(self, train: Tensor, validation: Tensor) -> Fitted:
        """Rows as a trial sees them.

        Args:
            train: Training rows, int64; all that is fitted is fitted to them.
            validation: Validation rows, int64.
        """


@dataclass(frozen=True)
class Fitted:
    """Rows as a trial sees them; see :class:`~sweeper.trial.DataInfo` of what is named alike.

    Attributes:
        samples: In the order in which they were loaded.
        labels: What the targets mean, where the data say it.
        preprocessing: What makes inputs of a row as a person has it, where that is known.
        inferred: What was found out about the inputs, in a line.
        source: Digest of the inputs as files hold them; empty where none is known.
    """

    samples: TensorRows | DatasetRows
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    features: Features | None = None
    tokens: Tokens | None = None
    frames: bool = False
    labels: Labels | None = None
    preprocessing: Preprocessing | None = None
    inferred: str = ""
    source: str = ""


@dataclass(frozen=True)
class TensorRows:
    """Rows that are tensors.

    Attributes:
        inputs: [N, ...], of any dtype but float64.
        targets: As :func:`~sweeper.data.targets.read_targets` returns them.
        digest: Of inputs and targets, see :mod:`~sweeper.data.fingerprint`.
        sums: Of all rows; None unless the inputs are uint8.
        task: Of the targets.
        marks: As of :class:`Rows`.
        labels: What the targets mean, where the data say it.
        inferred: What was found out about the inputs, in a line.
        preprocessing: Of pictures, but for mean and deviation, which are fitted.
        source: As of :class:`Fitted`.
    """

    inputs: Tensor
    targets: Tensor
    digest: str
    sums: ChannelSums | None
    task: Task = "classification"
    marks: Tensor | None = None
    labels: Labels | None = None
    inferred: str = ""
    preprocessing: Preprocessing | None = None
    source: str = ""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return tuple(self.inputs.shape[1:])

    @property
    def input_dtype(self) -> torch.dtype:
        """Of a batch."""
        return torch.float32 if self.sums else self.inputs.dtype

    def fit(self, train: Tensor, validation: Tensor) -> Fitted:
        """See :class:`Rows`."""
        found = Fitted(self, labels=self.labels, inferred=self.inferred, source=self.source)
        if self.sums is None:
            return found
        sums = self.sums - ChannelSums.of(self.inputs[validation].numpy())
        found = replace(found, mean=sums.mean(), std=sums.std())
        if self.preprocessing is None:
            return found
        tensors = {"mean": torch.tensor(found.mean), "std": torch.tensor(found.std)}
        return replace(found, preprocessing=replace(self.preprocessing, tensors=tensors))


@dataclass(frozen=True)
class DatasetRows:
    """Rows that a user's ``Dataset`` makes one by one.

    Attributes:
        dataset: Its items are (input, target).
        targets: As :func:`~sweeper.data.targets.read_targets` returns them.
        digest: Of the targets alone.
        input_shape: Of one sample.
        input_dtype: Of a batch.
        task: Of the targets.
        marks: As of :class:`TensorRows`.
        held_out: The same rows as they are validated on; None where they are those of ``dataset``.
        remark: What the user may not have meant; mostly empty.
    """

    dataset: Dataset[Any]
    targets: Tensor
    digest: str
    input_shape: tuple[int, ...]
    input_dtype: torch.dtype
    task: Task
    marks: Tensor | None = None
    held_out: Dataset[Any] | None = None
    remark: str = ""

    def fit(self, train: Tensor, validation: Tensor) -> Fitted:
        """See :class:`Rows`."""
        return Fitted(self)


def map_arrays(entry: CacheEntry) -> dict[str, Tensor]:
    """Map the arrays of a cache entry into memory; all processes share the same pages."""
    return {name: _map(entry.path(name), form) for name, form in entry.content.arrays.items()}


def _map(path: Path, form: ArrayForm) -> Tensor:
    dtype, n_values = getattr(torch, form.dtype), math.prod(form.shape)
    # Not shared: a stray write in place stays in this process instead of reaching the file.
    return torch.from_file(str(path), shared=False, size=n_values, dtype=dtype).view(*form.shape)
