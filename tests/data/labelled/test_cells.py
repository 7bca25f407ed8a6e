"""Rows as pandas and Python have them, read as those of a file are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeper.data.labelled.cells import read_rows

NAN = float("nan")


def numbers(values: "Sequence[Any] | pd.Series") -> list[float]:
    frame = pd.DataFrame({"age": values})
    return list(read_rows(frame, {"numbers": ["age"], "categories": {}})[:, 0].tolist())


def words(values: Sequence[Any], known: Sequence[str]) -> list[float]:
    frame = pd.DataFrame({"work": values})
    return list(read_rows(frame, {"numbers": [], "categories": {"work": known}})[:, 0].tolist())


@pytest.mark.parametrize(
    "values",
    [
        [39, NAN, 2.5],
        ["39", None, " 2.5 "],
        ["39", "?", 2.5],
        [39, "NA", "2.5"],
        [39, pd.NA, "2.5"],
        [np.float32(39), None, np.float64(2.5)],
        pd.Series([39, None, 2.5], dtype="Float64"),
        pd.Series(["39", None, "2.5"], dtype="category"),
    ],
)
def test_numbers_may_be_spelt_and_lack(values: Sequence[Any]) -> None:
    np.testing.assert_array_equal(numbers(values), [39, NAN, 2.5])


def test_whole_numbers_and_truth_are_numbers_too() -> None:
    assert numbers(pd.Series([3, 4], dtype="int64")) == [3, 4]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, "many", 2], "column 'age': 'many' in row 2 is no number"),
        ([1.0, float("inf")], "column 'age': inf in row 2 is too large for float32"),
        (["1e39"], "column 'age': 1e\\+39 in row 1 is too large for float32"),
        (["1", float("inf")], "column 'age': 'inf' in row 2 is no number"),
        ([1, 10**30, 10**40], "column 'age': 1e\\+40 in row 3 is too large for float32"),
        ([pd.Timestamp(2026, 1, 2)], "column 'age': timestamp.*; wanted are numbers, words or"),
        (["1", pd.Timestamp(2026, 1, 2)], "column 'age': Timestamp.* in row 2 is neither"),
        (["1", [2, 3]], r"column 'age': \[2, 3\] in row 2 is neither number nor word"),
        (["1", np.zeros(2)], r"column 'age': array.* in row 2 is neither number nor word"),
        ([1j], "column 'age': .*"),
    ],
)
def test_what_is_no_number_is_told_with_its_row(values: Sequence[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        numbers(values)


def test_words_have_their_places_and_others_are_0() -> None:
    assert words(["b", " a ", "c", None, "?", ""], ["a", "b"]) == [2, 1, 0, 0, 0, 0]
    assert words(pd.Series(["b", "c"], dtype="category"), ["a", "b"]) == [2, 0]
    assert words([NAN, NAN], ["a", "b"]) == [0, 0]  # as pandas reads a column of gaps


def test_numbers_among_words_are_spelt_as_in_a_file() -> None:
    assert words([1, 2, 3], ["1", "2", "A"]) == [1, 2, 0]
    assert words([1.0, NAN], ["1", "2", "A"]) == [1, 0]  # a gap makes fractions of whole numbers
    assert words([1, "A", None, 2.0], ["1", "2", "A"]) == [1, 3, 0, 2]
    assert words([1, float("inf")], ["1", "2", "A"]) == [1, 0]


@pytest.mark.parametrize("known", [["False", "True"], ["false", "true"]])
def test_truth_values_are_words_however_they_are_spelt(known: list[str]) -> None:
    assert words([True, False, True], known) == [2, 1, 2]
    assert words([True, None], known) == [2, 0]
