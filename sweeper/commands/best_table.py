"""The best trials of a study side by side, for people; all of its trials, for spreadsheets."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from sweeper.commands.param_columns import param_columns
from sweeper.study.result import Result


def top_lines(result: Result, n_trials: int) -> list[str]:
    """The trials of :meth:`Result.top` as a table, a line each below a line of titles."""
    objective = result.spec.objective
    columns = param_columns(list(result.spec.ranges()))
    titles = ["trial", "state", *objective.metrics, "epochs", *(c.title for c in columns)]
    rows = [
        [
            str(row["number"]),
            row["state"],
            *(f"{row[name]:.6g}" for name in objective.metrics),
            str(row["epochs"]),
            *(column.cell(row) for column in columns),
        ]
        for row in result.top(n_trials)
    ]
    if not rows:
        return ["no trial has reported anything yet"]
    is_number = [title in ("trial", "epochs", *objective.metrics) for title in titles]
    return aligned_lines([titles, *rows], is_number)


def aligned_lines(rows: Sequence[Sequence[str]], is_number: Sequence[bool]) -> list[str]:
    """Rows of as many cells each as lines whose cells stand below each other, numbers right."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, is_number, strict=True)
        ).rstrip()
        for cells in rows
    ]


def trials_csv(result: Result, n_trials: int | None) -> str:
    """Trials as CSV with a line of titles, without a newline at the end.

    Args:
        result: Of the study.
        n_trials: Only so many, the best first; None for all, by number.
    """
    rows: Sequence[dict[str, Any]] = result.rows() if n_trials is None else result.top(n_trials)
    text = io.StringIO()
    writer = csv.DictWriter(text, result.columns(), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")
