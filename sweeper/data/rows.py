"""A train split as it was loaded, before it is parted into training and validation rows."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sweeper.data.cache import CacheEntry
from sweeper.data.channels import ChannelSums
from sweeper.trial import Task


@dataclass(frozen=True)
class TensorRows:
    """Rows that are tensors.

    Attributes:
        inputs: [N, ...], of any dtype but float64.
        targets: As :func:`~sweeper.data.targets.read_targets` returns them.
        digest: Of inputs and targets, see :mod:`~sweeper.data.fingerprint`.
        sums: Of all rows; None unless the inputs are uint8.
        task: Of the targets.
        marks: 1 for each row that is held out, else 0, int32 [N]; None where a share is.
    """

    inputs: Tensor
    targets: Tensor
    digest: str
    sums: ChannelSums | None
    task: Task = "classification"
    marks: Tensor | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return tuple(self.inputs.shape[1:])

    @property
    def input_dtype(self) -> torch.dtype:
        """Of a batch."""
        return torch.float32 if self.sums else self.inputs.dtype


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
    """

    dataset: "Dataset[Any]"
    targets: Tensor
    digest: str
    input_shape: tuple[int, ...]
    input_dtype: torch.dtype
    task: Task
    marks: Tensor | None = None


def map_rows(entry: CacheEntry) -> TensorRows:
    """The images of a cache entry."""
    count, sums, squares = (entry.content.about["sums"][key] for key in _SUMS)
    return TensorRows(
        map_array(entry, "inputs"),
        map_array(entry, "targets"),
        entry.digest,
        ChannelSums(count, tuple(sums), tuple(squares)),
    )


_SUMS = ("count", "sums", "squares")


def map_array(entry: CacheEntry, name: str) -> Tensor:
    """Map an array of a cache entry into memory; all processes share the same pages."""
    form = entry.content.arrays[name]
    dtype = getattr(torch, form.dtype)
    # Not shared: a stray write in place stays in this process instead of reaching the file.
    flat = torch.from_file(
        str(entry.path(name)), shared=False, size=math.prod(form.shape), dtype=dtype
    )
    return flat.view(*form.shape)
