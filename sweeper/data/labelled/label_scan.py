"""Rows with named columns: their targets and marks found, then written beside their inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.config.problems import did_you_mean
from sweeper.data.content import ArrayForm
from sweeper.data.labelled.columns import ColumnScan
from sweeper.data.labelled.labels import Labels
from sweeper.data.labelled.pieces import Piece
from sweeper.data.labelled.reading import Reading
from sweeper.data.labelled.target_columns import class_names, encode_targets, settle_task
from sweeper.durable import replace_file
from sweeper.errors import DataError
from sweeper.trial import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Arrays of inputs, by their names: dtype, and shape of a row.
RowForms = Mapping[str, tuple[str, tuple[int, ...]]]


class LabelScan:
    """Of the targets, and of what parts the rows.

    Args:
        reading: Of the rows.

    Attributes:
        n_rows: But for those of the test.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.n_rows = 0
        self._targets = [ColumnScan(name, keeps_numbers=True) for name in reading.targets]
        self._marks = ColumnScan(reading.mark or "", is_text=True)
        self._tests = ColumnScan(reading.test["column"] if reading.test else "", is_text=True)
        self._rows_of: Counter[Path] = Counter()

    def take(self, piece: Piece) -> Piece:
        """Look at the next rows; returned are those that are not of the test."""
        if self._reading.test is not None:
            self._tests.take(piece)
        if self._reading.mark is not None:
            self._marks.take(self._reading.without_test(piece))
        piece = self._reading.kept(piece)
        self.n_rows += len(piece.rows)
        self._rows_of[piece.path] += len(piece.rows)
        for scan in self._targets:
            scan.take(piece)
        return piece

    def settle(self, stated: Task | None) -> Labels:
        """What the targets mean.

        Args:
            stated: ``data.task``.

        Raises:
            DataError: If nothing can be learned from them, or the rows cannot be parted.
        """
        self._check_test()
        for source in self._reading.sources:
            if not self._rows_of[source.path]:
                raise DataError(f"{source.path}: has no rows to learn from")
        self._check_marks()
        task = settle_task(self._targets, stated, is_list=self._reading.is_list)
        return Labels(self._reading.targets, task, class_names(self._targets, task))

    def _check_test(self) -> None:
        if self._tests.n_gaps:
            raise DataError(
                f"{self._tests.first_gap}, which names the rows of the test, has no value; mend it"
            )
        if self._reading.test is None:
            return
        words = self._tests.words()
        for word in self._reading.test_words:
            if word not in words:
                raise DataError(
                    f"data.test: no row has {word!r} in column {self._tests.name!r}"
                    f"{did_you_mean(word, words)}"
                )

    def _check_marks(self) -> None:
        holdout = self._reading.holdout
        if isinstance(holdout, float) or "path" in holdout:
            return
        if self._marks.n_gaps:
            raise DataError(
                f"{self._marks.first_gap}, which parts the rows, has no value; mend it"
            )
        words = self._marks.words()
        if "by" in holdout:
            if len(words) == 1:
                raise DataError(
                    f"data.validation: column {self._marks.name!r} holds {words[0]!r} in every "
                    "row; wanted are at least two groups: choose another column, or a share"
                )
            return
        asked = [str(holdout[key]) for key in ("value", "test") if key in holdout]
        if len(set(asked)) < len(asked):
            raise DataError(
                f"data.validation: {asked[0]!r} is value and test, and rows of the test are not "
                "read; give two words, or leave out test"
            )
        for word in asked:
            if word not in words:
                raise DataError(
                    f"data.validation: no row has {word!r} in column {self._marks.name!r}"
                    f"{did_you_mean(word, words)}"
                )
        if set(words) <= set(asked):
            raise DataError(
                f"data.validation: every row has {' or '.join(map(repr, asked))} in column "
                f"{self._marks.name!r}, so none is left to train on"
            )

    def write(
        self,
        folder: Path,
        labels: Labels,
        inputs: RowForms,
        encode: Callable[[Piece], Mapping[str, NDArray[Any]]],
    ) -> dict[str, ArrayForm]:
        """Read all rows once more, and write their arrays.

        Args:
            folder: Where to.
            labels: As they were settled.
            inputs: Forms of the arrays of inputs.
            encode: Makes these of the rows that are kept.

        Returns:
            What was written, that of ``targets`` and ``marks`` too.
        """
        forms = {**inputs, "targets": _target_form(labels)}
        if self._reading.is_marked:
            forms["marks"] = ("int32", ())
        groups = self._marks.words()
        with ExitStack() as stack:
            files = {
                name: stack.enter_context(
                    stack.enter_context(replace_file(folder / f"{name}.bin")).open("wb")
                )
                for name in forms
            }
            for whole_piece, number in self._reading.pieces():
                piece = self._reading.kept(whole_piece)
                arrays = {
                    **encode(piece),
                    "targets": encode_targets(piece, self._targets, labels.task, labels.classes),
                }
                marks = self._reading.marks(piece, number, groups)
                if marks is not None:
                    arrays["marks"] = marks
                for name, array in arrays.items():
                    files[name].write(array.tobytes())
        return {
            name: ArrayForm(kind, (self.n_rows, *shape)) for name, (kind, shape) in forms.items()
        }


def _target_form(labels: Labels) -> tuple[str, tuple[int, ...]]:
    kinds = {"classification": "int64", "multilabel": "bool", "regression": "float32"}
    shape = () if labels.task == "classification" else (len(labels.columns),)
    return kinds[labels.task], shape
