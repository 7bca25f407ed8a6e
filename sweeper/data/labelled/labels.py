"""What is to be learned of rows with named columns, as their cache entry keeps it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweeper.text import format_count
from sweeper.trial import DataInfo, Task


@dataclass(frozen=True)
class Labels:
    """What the targets of rows mean.

    Attributes:
        columns: Names of the target columns.
        task: That they make.
        classes: Names of the model's outputs; of a regression none.
    """

    columns: tuple[str, ...]
    task: Task
    classes: tuple[str, ...]


#: Columns and classes that are named in a line.
_MOST_NAMED = 8


def describe_labels(labels: Labels, counts: Sequence[int], info: DataInfo) -> str:
    """What was found out about the targets, in a line.

    Args:
        labels: Of the rows.
        counts: Rows of each class or label; empty of a regression.
        info: Of the parted rows.
    """
    target = f"target {', '.join(labels.columns)}: {labels.task}"
    if labels.task == "regression":
        means = ", ".join(f"{mean:.5g}" for mean in info.target_mean)
        return f"{target}, mean {means}; the mean alone reaches val_rmse {info.naive:.5g}"
    outputs = [
        f"{name} in {format_count(n, 'row')}"
        for name, n in zip(labels.classes, counts, strict=True)
    ]
    if labels.task == "multilabel":
        return f"{target}, {format_count(len(outputs), 'label')}{named(outputs)}"
    return (
        f"{target}, {len(outputs)} classes{named(outputs)}; the commonest alone reaches "
        f"val_accuracy {info.naive:.3g}"
    )


def remark_on_labels(labels: Labels, counts: Sequence[int], name: str) -> str:
    """Of classes that have one row."""
    if labels.task != "classification":
        return ""
    single = [word for word, n in zip(labels.classes, counts, strict=True) if n == 1]
    if not single:
        return ""
    return (
        f"{name}: no more than one row is of {', '.join(map(repr, single[:_MOST_NAMED]))}"
        f"{', ...' * (len(single) > _MOST_NAMED)}, which cannot be trained on and validated too"
    )


def named(names: Iterable[str]) -> str:
    """The first of some names in brackets; nothing if there are none."""
    words = list(names)
    if not words:
        return ""
    return f" ({', '.join(words[:_MOST_NAMED])}{', ...' * (len(words) > _MOST_NAMED)})"
