"""The target columns of a table: which task they make, and their values in its form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from sweeper.data.labelled.cells import as_array, as_codes, as_numbers
from sweeper.data.labelled.columns import ColumnScan
from sweeper.data.labelled.pieces import Piece
from sweeper.errors import DataError
from sweeper.trial import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A model has an output for each.
_MOST_CLASSES = 100_000


def settle_task(scans: Sequence[ColumnScan], stated: Task | None, *, is_list: bool) -> Task:
    """What is to be learned of a table's rows.

    Args:
        scans: Of the target columns.
        stated: ``data.task``.
        is_list: Whether the study file gives a list of columns.

    Raises:
        DataError: If that cannot be told, or the columns do not fit what is stated.
    """
    for scan in scans:
        _check_present(scan)
        if stated != "classification" and (fault := scan.comma_fault):
            raise DataError(f"data.target: {fault}, or say data.task: classification")
    task = stated or _infer(scans, is_list=is_list)
    for scan in scans:
        if task == "classification":
            _check_classes(scan, len(scans))
        elif task == "multilabel" and not scan.is_label:
            raise DataError(
                f"data.target: column {scan.name!r} holds {_describe(scan)}; multilabel wants 0 "
                "and 1, or true and false"
            )
        elif task == "regression" and scan.kind == "words":
            raise DataError(
                f"data.target: column {scan.name!r} holds {_describe(scan)}; a regression wants "
                "numbers: choose another column, or data.task: classification"
            )
    return task


def _check_present(scan: ColumnScan) -> None:
    if scan.n_gaps:
        more = f", and {scan.n_gaps - 1:,} more rows have none" if scan.n_gaps > 1 else ""
        raise DataError(f"{scan.first_gap}, the target, has no value{more}; drop such rows")
    if scan.low == scan.high or len(scan.values) == 1:
        value = scan.words()[0] if scan.kind == "words" else f"{scan.low:g}"
        raise DataError(
            f"data.target: column {scan.name!r} holds {value} in every row, so there is nothing "
            "to learn; choose another column"
        )


def _infer(scans: Sequence[ColumnScan], *, is_list: bool) -> Task:
    if is_list and all(scan.is_label for scan in scans):
        return "multilabel"
    if len(scans) == 1 and scans[0].kind == "words":
        return "classification"
    if words := next((scan for scan in scans if scan.kind == "words"), None):
        raise DataError(
            f"data.target: column {words.name!r} holds {_describe(words)}; several targets are "
            "all numbers, or all 0 and 1; one column of words alone makes a classification"
        )
    if not all(scan.is_whole for scan in scans):
        return "regression"
    if len(scans) > 1:
        raise DataError(
            "data.target: the columns hold whole numbers, and not 0 and 1 alone; say that they "
            "are numbers by data.task: regression"
        )
    raise DataError(
        f"data.target: column {scans[0].name!r} holds {_describe(scans[0])}, which may be classes "
        "or numbers; say which by data.task: classification, or data.task: regression"
    )


def _check_classes(scan: ColumnScan, n_targets: int) -> None:
    if n_targets > 1:
        raise DataError(
            f"data.target: there are {n_targets} columns, and a classification has one; say "
            "data.task: multilabel if each is a label"
        )
    if scan.kind == "numbers" and not scan.is_whole:
        raise DataError(
            f"data.target: column {scan.name!r} holds fractions, such as "
            f"{next(value for value in scan.values if value % 1):g}; a classification wants words "
            "or whole numbers"
        )
    n_rows = scan.values.total()
    if len(scan.values) > min(_MOST_CLASSES, max(_FEW_CLASSES, n_rows / 2)):
        raise DataError(
            f"data.target: column {scan.name!r} has {len(scan.values):,} different values in "
            f"{n_rows:,} rows, too many for classes; choose another column"
            + (", or data.task: regression" if scan.kind == "numbers" else "")
        )


#: So many classes are never too many for the rows there are.
_FEW_CLASSES = 50


def _describe(scan: ColumnScan) -> str:
    if scan.kind == "words":
        return f"words, such as {scan.words()[0]!r}"
    kind = "whole numbers" if scan.is_whole else "numbers"
    return f"{kind} from {scan.low:g} to {scan.high:g}"


def class_names(scans: Sequence[ColumnScan], task: Task) -> tuple[str, ...]:
    """Names of the outputs, in their order: classes, or labels; of a regression none."""
    if task == "multilabel":
        return tuple(scan.name for scan in scans)
    if task == "regression":
        return ()
    (scan,) = scans
    if scan.kind == "words":
        return scan.words()
    return tuple(str(int(value)) for value in sorted(scan.values))


def encode_targets(
    piece: Piece, scans: Sequence[ColumnScan], task: Task, classes: Sequence[str]
) -> NDArray[Any]:
    """Targets of a piece: int64 [N] of a classification, bool [N, K] of labels, else float32."""
    columns = [piece.columns[scan.name] for scan in scans]
    if task == "regression":
        return np.stack([as_numbers(column) for column in columns], 1).astype(np.float32)
    if task == "multilabel":
        return np.stack([_truths(*pair) for pair in zip(columns, scans, strict=True)], 1)
    if scans[0].kind == "words":
        return as_codes(columns[0], classes).astype(np.int64)
    return np.searchsorted([float(name) for name in classes], as_numbers(columns[0]))


def _truths(column: Any, scan: ColumnScan) -> NDArray[np.bool_]:
    if scan.kind == "numbers":
        return np.equal(as_numbers(column), 1)
    return as_array(pc.equal(pc.utf8_lower(column), "true"))
