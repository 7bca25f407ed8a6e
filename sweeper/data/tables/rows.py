"""Rows of a table: its arrays as they were read -> inputs, fitted to the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.config.records import read_record
from sweeper.config.settings import DataConfig, Scale
from sweeper.data.content import CacheEntry
from sweeper.data.labelled.labels import Labels
from sweeper.data.preprocessing import Preprocessing
from sweeper.data.rows import Fitted, TensorRows, map_arrays
from sweeper.data.tables.form import TableColumns, describe_columns
from sweeper.data.tables.inputs import TableInputs, fit_inputs
from sweeper.trial import Features, Task

#: As a copy of the numbers in float64 may be large.
_ROWS_AT_ONCE = 2**16


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
            Inputs float32 [N, F + gaps + K], as :class:`~sweeper.data.tables.inputs.TableInputs`
            makes them of numbers and of words, which stand for those of training rows from 1 on.
        """
        rows = train.numpy()
        module = fit_inputs(self.numbers.numpy(), rows, self.scale)
        categories = [_fit_words(codes.numpy(), rows) for codes in self.codes.T]
        n_inputs = len(module.get_buffer("order"))
        inputs = torch.empty(len(self.targets), n_inputs + len(categories))
        for first in range(0, len(inputs), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            codes = [words.number(self.codes[part, at]) for at, words in enumerate(categories)]
            columns = [self.numbers[part], *(each.float()[:, None] for each in codes)]
            inputs[part] = module(torch.cat(columns, 1))
        sizes = tuple(1 + len(words.seen) for words in categories)
        return Fitted(
            TensorRows(inputs, self.targets, self.digest, None, self.task),
            features=Features(n_inputs, sizes),
            labels=self.labels,
            preprocessing=self._preprocessing(module, categories),
            inferred=describe_columns(self.columns),
            source=self.digest,
        )

    def _preprocessing(self, module: TableInputs, fits: Sequence[_FittedWords]) -> Preprocessing:
        columns, medians = self.columns, module.get_buffer("median").tolist()
        words = [
            [known[code] for code in fit.seen]
            for known, fit in zip(columns.words, fits, strict=True)
        ]
        numbers = [int(median) if median == int(median) else median for median in medians]
        common = [
            known[fit.commonest] if fit.seen else None
            for known, fit in zip(columns.words, fits, strict=True)
        ]
        names = (*columns.numbers, *columns.categories)
        strings = {
            "numbers": columns.numbers,
            "categories": dict(zip(columns.categories, words, strict=True)),
            # Of no row in particular, as it is sent to MLflow.
            "example": dict(zip(names, [*numbers, *common], strict=True)),
        }
        return Preprocessing("table", strings, dict(module.named_buffers()))


@dataclass(frozen=True)
class _FittedWords:
    """The words of a column that training rows have.

    Attributes:
        seen: Their codes, in order.
        commonest: The code that most training rows have.
    """

    seen: list[int]
    commonest: int

    def number(self, codes: Tensor) -> Tensor:
        """Words numbered from 1 on, in their order; 0 what is not among them."""
        known = torch.tensor([-1, *self.seen])  # what is lower than all codes comes first
        places = torch.searchsorted(known, codes.long()).clamp(max=len(known) - 1)
        return torch.where(known[places] == codes, places, 0)


def _fit_words(codes: NDArray[np.int32], train: NDArray[np.int64]) -> _FittedWords:
    seen, counts = np.unique(codes[train], return_counts=True)
    is_word = seen >= 0
    seen, counts = seen[is_word], counts[is_word]
    return _FittedWords(seen.tolist(), int(seen[counts.argmax()]) if len(seen) else -1)


def map_rows(entry: CacheEntry, config: DataConfig) -> TableRows:
    """The table of a cache entry."""
    columns = read_record(TableColumns, entry.content.about["columns"])
    labels = read_record(Labels, entry.content.about["labels"])
    arrays = map_arrays(entry)
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
        **{key: config.params[key] for key in ("scale",) if key in config.params},
    )
