"""Rows of built-in data sets."""

from collections.abc import Sequence
from dataclasses import replace

from sweeper.data.content import CacheEntry
from sweeper.data.images.rows import map_rows
from sweeper.data.preprocessing import Preprocessing
from sweeper.data.rows import TensorRows
from sweeper.data.targets import count_outputs
from sweeper.trial import Task


def map_built_in(entry: CacheEntry, task: Task | None, classes: Sequence[str]) -> TensorRows:
    """The images of a cache entry of built-in data, with the targets of a task.

    Args:
        entry: Of them.
        task: As the study file states it.
        classes: Names of the targets from 0 on.
    """
    rows = map_rows(entry, task)
    if rows.task != "classification":
        return rows
    outputs = list(classes[: count_outputs(rows.targets, rows.task)])
    return replace(rows, preprocessing=Preprocessing("arrays", {"outputs": outputs}, {}))
