"""What the arrays of a table mean, as its cache entry keeps it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.text import format_count
from sweeper.trial import DataInfo, Task


@dataclass(frozen=True)
class TableColumns:
    """What the arrays of a table mean.

    Attributes:
        numbers: Names of the F columns of numbers.
        categories: Names of the K columns of words.
        words: Of each of these, what the codes from 0 on stand for.
        gaps: Rows without a value, by the name of the column; of those that have such rows.
        targets: Names of the target columns.
        task: That they make.
        classes: Names of the model's outputs; of a regression none.
    """

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    gaps: Mapping[str, int]
    targets: tuple[str, ...]
    task: Task
    classes: tuple[str, ...]


#: Columns and classes that are named in a line.
_MOST_NAMED = 8


def describe_table(
    columns: TableColumns, counts: Sequence[int], info: DataInfo
) -> tuple[str, ...]:
    """What was found out about a table: a line about its inputs, and one about its target.

    Args:
        columns: Of the table.
        counts: Rows of each class or label; empty of a regression.
        info: Of the parted rows.
    """
    found = [
        f"{format_count(len(columns.numbers), 'number')}{_named(columns.numbers)}",
        f"{len(columns.categories)} {'category' if len(columns.categories) == 1 else 'categories'}"
        + _named(
            f"{name} of {format_count(len(words), 'word')}"
            for name, words in zip(columns.categories, columns.words, strict=True)
        ),
    ]
    if columns.gaps:
        gaps = [f"{name} in {format_count(n, 'row')}" for name, n in columns.gaps.items()]
        found.append(f"no value{_named(gaps)}")
    return f"{info.name}: {', '.join(found)}", _describe_target(columns, counts, info)


def _describe_target(columns: TableColumns, counts: Sequence[int], info: DataInfo) -> str:
    target = f"target {', '.join(columns.targets)}: {columns.task}"
    if columns.task == "regression":
        means = ", ".join(f"{mean:.5g}" for mean in info.target_mean)
        return f"{target}, mean {means}; the mean alone reaches val_rmse {info.naive:.5g}"
    outputs = [
        f"{name} in {format_count(n, 'row')}"
        for name, n in zip(columns.classes, counts, strict=True)
    ]
    if columns.task == "multilabel":
        return f"{target}, {format_count(len(outputs), 'label')}{_named(outputs)}"
    return (
        f"{target}, {len(outputs)} classes{_named(outputs)}; the commonest alone reaches "
        f"val_accuracy {info.naive:.3g}"
    )


def remark_on_table(columns: TableColumns, counts: Sequence[int], name: str) -> str:
    """Of classes that have one row."""
    if columns.task != "classification":
        return ""
    single = [word for word, n in zip(columns.classes, counts, strict=True) if n == 1]
    if not single:
        return ""
    return (
        f"{name}: no more than one row is of {', '.join(map(repr, single[:_MOST_NAMED]))}"
        f"{', ...' * (len(single) > _MOST_NAMED)}, which cannot be trained on and validated too"
    )


def _named(names: Iterable[str]) -> str:
    words = list(names)
    if not words:
        return ""
    return f" ({', '.join(words[:_MOST_NAMED])}{', ...' * (len(words) > _MOST_NAMED)})"
