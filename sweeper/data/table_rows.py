"""Rows of a table: its arrays as they were read -> inputs, fitted to the training rows."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.config.records import read_record
from sweeper.config.settings import Scale
from sweeper.data.content import CacheEntry
from sweeper.data.labels import Labels
from sweeper.data.rows import Fitted, TensorRows, map_array
from sweeper.data.table_form import TableColumns, describe_columns
from sweeper.trial import Features, Task

#: Quantiles by which numbers are brought to a normal distribution; and the share at both ends
#: whose numbers become one, as the scores of the outermost would be endless.
_N_KNOTS, _TAIL = 257, 1e-3


@dataclass(frozen=True)
class TableRows:
    """All rows that a trial may read, as they were read.

    Attributes:
        numbers: float32 [N, F], NaN where nothing is.
        codes: int32 [N, K], -1 where nothing is.
        targets: As :func:`~sweeper.data.targets.read_targets` returns them.
        marks: int32 [N], the group of each row, or 1 where it is held out; None where a share is.
        columns: What the inputs mean.
        labels: What the targets mean.
        digest: Of all that.
        scale: How numbers are scaled.
    """

    numbers: Tensor
    codes: Tensor
    targets: Tensor
    marks: Tensor | None
    columns: TableColumns
    labels: Labels
    digest: str
    scale: Scale = "standard"

    @property
    def task(self) -> Task:
        """Of the targets."""
        return self.labels.task

    def fit(self, train: Tensor, validation: Tensor) -> Fitted:
        """See :class:`~sweeper.data.rows.Rows`.

        Returns:
            Inputs float32 [N, F + gaps + K]: the numbers, scaled, with the median where nothing
            is; 1 for each row in which it is so, of columns that have such training rows; then
            the categories.
        """
        rows = train.numpy()
        columns: list[NDArray[Any]] = [
            column
            for index in range(self.numbers.shape[1])
            for column in _scaled(self.numbers[:, index].numpy(), rows, self.scale)
        ]
        n_numbers, sizes = len(columns), []
        for index in range(self.codes.shape[1]):
            known, size = _seen(self.codes[:, index].numpy(), rows)
            columns.append(known)
            sizes.append(size)
        inputs = np.empty((len(self.targets), len(columns)), np.float32)
        for index, column in enumerate(columns):
            inputs[:, index] = column
        return Fitted(
            TensorRows(torch.from_numpy(inputs), self.targets, self.digest, None, self.task),
            features=Features(n_numbers, tuple(sizes)),
            labels=self.labels,
            inferred=describe_columns(self.columns),
        )


def map_table(entry: CacheEntry, scale: Scale) -> TableRows:
    """The table of a cache entry."""
    columns = read_record(TableColumns, entry.content.about["columns"])
    labels = read_record(Labels, entry.content.about["labels"])
    arrays = {name: map_array(entry, name) for name in entry.content.arrays}
    n_rows = len(arrays["targets"])
    meaning = repr((columns.numbers, columns.categories, columns.words, labels.classes))
    return TableRows(
        arrays.get("numbers", torch.empty(n_rows, 0)),
        arrays.get("codes", torch.empty(n_rows, 0, dtype=torch.int32)),
        arrays["targets"],
        arrays.get("marks"),
        columns,
        labels,
        sha256(f"{entry.digest} {meaning}".encode()).hexdigest(),
        scale,
    )


def _scaled(
    values: NDArray[np.float32], train: NDArray[Any], scale: Scale
) -> list[NDArray[np.float32]]:
    """A column of numbers without gaps and, if its training rows have some, where they are."""
    is_gap = np.isnan(values)
    known = values[train][~is_gap[train]].astype(np.float64)
    median = np.median(known) if len(known) else 0.0
    filled = np.where(is_gap, median, values.astype(np.float64))
    scaled = (_standard if scale == "standard" else _normal_scores)(filled, filled[train])
    has_gaps = len(known) < len(train)
    return [scaled.astype(np.float32), *([is_gap.astype(np.float32)] if has_gaps else [])]


def _standard(values: NDArray[np.float64], fitted: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = (values - fitted.mean()) / (fitted.std() or 1.0)
    return scaled


def _normal_scores(
    values: NDArray[np.float64], fitted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Quantiles of a normal distribution at the share of fitted values that are lower."""
    levels = np.linspace(0, 1, _N_KNOTS)
    quantiles = np.quantile(fitted, levels)
    knots, first, counts = np.unique(quantiles, return_index=True, return_counts=True)
    if len(knots) == 1:
        return np.zeros_like(values)
    # Equal values stand in the middle of their share.
    shares = np.interp(values, knots, (levels[first] + levels[first + counts - 1]) / 2)
    scores = torch.special.ndtri(torch.from_numpy(shares.clip(_TAIL, 1 - _TAIL)))
    return np.asarray(scores.numpy(), np.float64)


def _seen(codes: NDArray[np.int32], train: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Words of training rows numbered from 1 in their order, and how many numbers there are."""
    seen = np.unique(codes[train])
    seen = seen[seen >= 0]
    places = np.searchsorted(seen, codes)
    is_seen = np.isin(codes, seen)
    return np.where(is_seen, places + 1, 0), len(seen) + 1
