"""What the cells of a table say, in a file or in a frame of pandas.

A served model reads its rows by this file, a copy of which lies beside it, so that nothing of
sweeper is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What stands for a value that is not there, beside nothing at all.
GAPS = ("", "?", "NA", "N/A", "NaN", "nan", "null", "NULL", "<NA>", "None")
#: A number as text; what has another form is a word.
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def read_rows(
    columns: Mapping[str, Sequence[Any]], strings: Mapping[str, Any]
) -> NDArray[np.float32]:
    """Rows as a person has them -> what a served model computes with.

    Args:
        columns: By name, of values as pandas or Python has them: a frame is one.
        strings: ``numbers``, names of the F columns of numbers, and ``categories``, the words of
            the training rows by the name of each of the K others.

    Returns:
        float32 [N, F + K]: numbers, NaN where nothing is; of a word its place among those of the
        training rows, from 1 on, and 0 for another one or none.

    Raises:
        ValueError: If a number is none, or a value neither number nor word.
    """
    words = strings["categories"]
    read = [
        *(_read_column(_read_numbers, columns, name) for name in strings["numbers"]),
        *(_read_column(partial(_read_words, words=words[name]), columns, name) for name in words),
    ]
    return np.stack(read, 1).astype(np.float32)


def _read_column(
    read: Callable[[Sequence[Any]], NDArray[Any]], columns: Mapping[str, Sequence[Any]], name: str
) -> NDArray[Any]:
    values = columns[name]
    try:
        return read(values)
    except Exception as exc:  # pyarrow raises what it likes of what it does not know
        raise ValueError(f"column {name!r}: {exc}") from exc


def _read_numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    column = as_plain(_as_column(values))
    if pa.types.is_string(column.type):
        is_number = looks_like_number(column.fill_null("0"))
        if not is_number.all():
            row = int(np.argmin(is_number))
            raise ValueError(f"{column[row].as_py()!r} in row {row + 1} is no number")
    numbers = as_numbers(column)
    if len(large := np.flatnonzero(np.abs(numbers) > np.finfo(np.float32).max)):
        raise ValueError(f"{numbers[large[0]]:g} in row {large[0] + 1} is too large for float32")
    return numbers


def _read_words(values: Sequence[Any], words: Sequence[str]) -> NDArray[np.int32]:
    column = _as_column(values)
    if pa.types.is_boolean(column.type):  # pandas makes the same of `true` and `True`
        column = pc.utf8_lower(as_plain(column))
        return as_codes(column, [word.lower() for word in words]) + np.int32(1)
    return as_codes(as_words(as_plain(column)), words) + np.int32(1)


def _as_column(values: Sequence[Any]) -> pa.Array:
    try:
        column = pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # of several kinds, or very large
        return pa.array([_as_text(value, row) for row, value in enumerate(values, 1)], pa.string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _as_text(value: Any, row: int) -> str | None:
    if isinstance(value, str | bool | np.bool_):
        return str(value)
    if (
        isinstance(value, int | float | np.integer | np.floating | Decimal) and value == value
    ):  # NaN alone is not itself
        is_whole = abs(value) != float("inf") and value == int(value)
        return str(int(value) if is_whole else value)
    if pa.array([value], from_pandas=True).null_count:
        return None
    raise TypeError(f"{value!r} in row {row} is neither number nor word nor truth value")


def as_plain(column: pa.Array, gaps: Sequence[str] = GAPS) -> pa.Array:
    """A typed column as numbers, float64, or as text without spaces around it; gaps are null.

    Raises:
        TypeError: If it holds neither numbers nor text nor truth values.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = pc.cast(column, pa.float64(), safe=False)
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return as_trimmed(pc.cast(column, pa.string()), gaps)
    if pa.types.is_boolean(kind):
        return pc.if_else(column, str(True), str(False))
    if pa.types.is_null(kind):
        return pc.cast(column, pa.string())
    raise TypeError(f"{kind}; wanted are numbers, words or truth values")


def as_trimmed(column: pa.Array, gaps: Sequence[str] = GAPS) -> pa.Array:
    """Text without spaces around it, and null where it stands for a gap."""
    column = pc.utf8_trim_whitespace(column)
    is_gap = pc.is_in(column, value_set=pa.array(gaps, column.type))
    return pc.if_else(is_gap, pa.scalar(None, column.type), column)


def looks_like_number(column: pa.Array) -> NDArray[Any]:
    """Whether each text, of which none may be null, is a number [N]."""
    return as_array(pc.match_substring_regex(column, _NUMBER))


def as_array(column: pa.Array) -> NDArray[Any]:
    """The values of a column, none of them null, as numpy has them."""
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values


def as_numbers(column: pa.Array) -> NDArray[np.float64]:
    """Numbers, or text that spells them, with NaN where nothing is, float64 [N]."""
    return as_array(pc.cast(column, pa.float64()).fill_null(np.nan))


def as_codes(column: pa.Array, words: Sequence[str]) -> NDArray[np.int32]:
    """Where each text is among the words, -1 where nothing is, int32 [N]."""
    places = pc.index_in(column, value_set=pa.array(words, pa.string()))
    return as_array(places.fill_null(-1))


def as_words(column: pa.Array) -> pa.Array:
    """Text as it is; whole numbers without a point, so that 3 of any file is the word 3."""
    if pa.types.is_string(column.type):
        return column
    numbers = [value.as_py() for value in column]
    spelt = [
        None if number is None else str(int(number)) if number.is_integer() else repr(number)
        for number in numbers
    ]
    return pa.array(spelt, pa.string())
