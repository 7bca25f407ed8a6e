"""What the arrays of a table mean, as its cache entry keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.data.labelled.labels import named
from sweeper.text import format_count


@dataclass(frozen=True)
class TableColumns:
    """What the arrays of a table mean, targets apart.

    Attributes:
        numbers: Names of the F columns of numbers.
        categories: Names of the K columns of words.
        words: Of each of these, what the codes from 0 on stand for.
        gaps: Rows without a value, by the name of the column; of those that have such rows.
    """

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    gaps: Mapping[str, int]


def describe_columns(columns: TableColumns) -> str:
    """What was found out about the inputs of a table, in a line."""
    found = [
        f"{format_count(len(columns.numbers), 'number')}{named(columns.numbers)}",
        f"{len(columns.categories)} {'category' if len(columns.categories) == 1 else 'categories'}"
        + named(
            f"{name} of {format_count(len(words), 'word')}"
            for name, words in zip(columns.categories, columns.words, strict=True)
        ),
    ]
    if columns.gaps:
        gaps = [f"{name} in {format_count(n, 'row')}" for name, n in columns.gaps.items()]
        found.append(f"no value{named(gaps)}")
    return ", ".join(found)
