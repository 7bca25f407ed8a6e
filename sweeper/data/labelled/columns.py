"""What the columns of a table hold, found by reading all of it once."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweeper.data.labelled.cells import as_array, as_numbers, looks_like_number
from sweeper.data.labelled.pieces import Piece
from sweeper.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["numbers", "words"]
#: What a model cannot learn from: no value at all, dates, numbers that are words for their commas,
#: other words in most rows.
Flaw = Literal["empty", "dates", "commas", "ids"]
#: So many different words are no id yet, however few rows there are.
_FEW_WORDS = 50
#: An embedding of more would not fit anywhere; and all are held in memory while reading.
_MOST_WORDS = 1_000_000
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}([T ].*)?")
#: 3,14 or 1.234,5 beside whole numbers; or 1,234.5.
_COMMAS = re.compile(r"[+-]?(\d+([. ]\d{3})*(,\d+)?|\d{1,3}(,\d{3})+(\.\d+)?)([eE][+-]?\d+)?")


class ColumnScan:
    """One column: numbers or words, and which.

    What most values of the first piece are, all must be: a column of both is refused.

    Args:
        name: Of the column.
        keeps_numbers: Whether the different values are kept of numbers too, as of a target.
        is_text: Whether numbers are words as well.

    Attributes:
        kind: None as long as no value was met.
        n_gaps: Rows without a value.
        first_gap: Where the first of them is.
        values: How often each occurs; of numbers none unless they are kept, or too many.
        is_whole: Whether all numbers are whole.
        low: The smallest number.
        high: The largest.
    """

    def __init__(self, name: str, *, keeps_numbers: bool = False, is_text: bool = False) -> None:
        self.name = name
        self.kind: Kind | None = "words" if is_text else None
        self.n_gaps = 0
        self.first_gap = ""
        self.values: Counter[Any] = Counter()
        self.is_whole = True
        self.low, self.high = np.inf, -np.inf
        self._keeps_numbers = keeps_numbers
        self._first_place = ""

    def take(self, piece: Piece) -> None:
        """Look at the next piece.

        Raises:
            DataError: If a value is none of the column's kind.
        """
        column = piece.columns[self.name]
        if column.null_count:
            first = pc.index(pc.is_null(column), pa.scalar(value=True)).as_py()
            self.first_gap = self.first_gap or piece.place(first, self.name)
            self.n_gaps += column.null_count
        if column.null_count == len(column):
            return
        is_number = _are_numbers(column, is_typed=piece.is_typed)
        if self.kind is None:
            n_known = len(column) - column.null_count
            self.kind = "numbers" if 2 * is_number.sum() >= n_known else "words"
            self._first_place = str(piece.path)
        if self.kind == "words":
            self._take_words(column, piece)
        else:
            self._take_numbers(column, is_number, piece)

    def _take_words(self, column: pa.Array, piece: Piece) -> None:
        if not pa.types.is_string(column.type):
            raise DataError(
                f"{piece.path}: column {self.name!r} holds numbers, and words in "
                f"{self._first_place}; {_OUT}"
            )
        self._count(column)
        if len(self.values) > _MOST_WORDS:
            raise DataError(
                f"{piece.path}: column {self.name!r} has more than {_MOST_WORDS:,} different "
                "words; leave it out by data.ignore"
            )

    def _take_numbers(self, column: pa.Array, is_number: NDArray[Any], piece: Piece) -> None:
        is_known = as_array(column.is_valid())
        odd = np.flatnonzero(is_known & ~is_number)
        if len(odd):
            raise DataError(
                f"{piece.place(int(odd[0]), self.name)} is {column[int(odd[0])].as_py()!r}, and "
                f"most others are numbers; {_OUT}"
            )
        numbers = as_numbers(column)
        if len(huge := np.flatnonzero(np.abs(numbers) > np.finfo(np.float32).max)):
            raise DataError(
                f"{piece.place(int(huge[0]), self.name)} is {numbers[huge[0]]:g}, which is too "
                f"large for float32; {_OUT}"
            )
        known = numbers[is_known]
        self.is_whole = self.is_whole and bool((known == np.floor(known)).all())
        self.low, self.high = min(self.low, known.min()), max(self.high, known.max())
        if self._keeps_numbers and len(self.values) <= _MOST_WORDS:
            self._count(pa.array(known))

    def _count(self, column: pa.Array) -> None:
        for found in pc.value_counts(column.drop_null()).to_pylist():
            self.values[found["values"]] += found["counts"]

    def flaw(self, n_rows: int) -> Flaw | None:
        """Why no model can learn from the column; None if one can."""
        if self.kind is None:
            return "empty"
        if self.kind == "numbers":
            return None
        if all(map(_DATE.fullmatch, self.values)):
            return "dates"
        if self.comma_fault:
            return "commas"
        return "ids" if len(self.values) > max(_FEW_WORDS, n_rows / 2) else None

    def check_input(self, n_rows: int) -> None:
        """See that a model can learn from the column.

        Raises:
            DataError: If it has no value, holds dates, numbers with commas, or different words in
                most rows.
        """
        flaw = self.flaw(n_rows)
        if flaw == "empty":
            raise DataError(f"column {self.name!r} has no value at all; {_IGNORE}")
        if flaw == "dates":
            raise DataError(
                f"column {self.name!r} holds dates, such as {next(iter(self.values))!r}; make "
                f"numbers of them, as of a month or an age, or {_IGNORE}"
            )
        if flaw == "commas":
            raise DataError(f"{self.comma_fault}, or {_IGNORE}")
        if flaw == "ids":
            raise DataError(
                f"column {self.name!r} has {len(self.values):,} different words in {n_rows:,} "
                f"rows, so it looks like an id; {_IGNORE}"
            )

    @property
    def comma_fault(self) -> str:
        """That its words are numbers with commas, and the way out; empty if they are not."""
        if self.kind != "words" or not all(map(_COMMAS.fullmatch, self.values)):
            return ""
        example = next((word for word in self.values if "," in word), None)
        if example is None:
            return ""
        return (
            f"column {self.name!r} holds numbers with commas, such as {example!r}, which are "
            "taken for words; write them with a point, and nothing between thousands (pandas "
            "reads them by read_csv(FILE, sep=';', decimal=',', thousands='.'))"
        )

    @property
    def is_label(self) -> bool:
        """Whether it holds truth values, or 0 and 1."""
        if self.kind == "words":
            return {word.lower() for word in self.values} <= {"true", "false"}
        return set(self.values) <= {0.0, 1.0} and bool(self.values)

    def words(self) -> tuple[str, ...]:
        """All of them, in order."""
        return tuple(sorted(self.values))


_IGNORE = "leave it out by data.ignore"
_OUT = f"mend it, or {_IGNORE}"


def _are_numbers(column: pa.Array, *, is_typed: bool) -> NDArray[Any]:
    """Of each value whether it is a number [N]; not of one that is not there."""
    is_known = as_array(column.is_valid())
    if pa.types.is_floating(column.type):
        return is_known
    if is_typed:
        return np.zeros(len(column), bool)
    is_number: NDArray[Any] = is_known & looks_like_number(column.fill_null(""))
    return is_number
