"""A table: its files -> arrays on disk, of all that a trial may read of it.

    <cache_dir>/table-0123456789abcdef/numbers.bin   float32 [N, F], NaN where nothing is
                                       codes.bin     int32 [N, K], -1 where nothing is
                                       targets.bin   int64 [N], bool [N, T] or float32 [N, T]
                                       marks.bin     int32 [N], if the rows are not parted by share
                                       meta.json     with the words that the codes stand for

The files are read twice, a piece at a time: once to see what each column holds, once to write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeper.config.settings import DataConfig
from sweeper.data.content import Content
from sweeper.data.labelled.cells import as_codes, as_numbers
from sweeper.data.labelled.columns import ColumnScan
from sweeper.data.labelled.label_scan import LabelScan
from sweeper.data.labelled.pieces import Piece
from sweeper.data.labelled.reading import Reading, open_sources
from sweeper.data.tables.form import TableColumns
from sweeper.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write(config: DataConfig, folder: Path) -> Content:
    """Read the files of a table, and write their arrays.

    Raises:
        DataError: If the files cannot be read, or do not hold what the study file says.
    """
    reading = Reading.of(config, open_sources(config))
    _check_inputs(reading)
    scan, inputs = LabelScan(reading), [ColumnScan(name) for name in reading.inputs]
    for whole_piece, _ in reading.pieces():
        piece = scan.take(whole_piece)
        for column in inputs:
            column.take(piece)
    labels = scan.settle(config.task)
    columns = _settle(inputs, scan.n_rows)
    forms: dict[str, tuple[str, tuple[int, ...]]] = {
        "numbers": ("float32", (len(columns.numbers),)),
        "codes": ("int32", (len(columns.categories),)),
    }
    forms = {name: form for name, form in forms.items() if 0 not in form[1]}
    arrays = scan.write(folder, labels, forms, partial(_encode, columns=columns))
    return Content(arrays, {"columns": asdict(columns), "labels": asdict(labels)})


def _check_inputs(reading: Reading) -> None:
    path = reading.sources[0].path
    if not reading.inputs:
        raise DataError(f"data.ignore: no column of {path} is left to learn from; leave out fewer")
    if "" in reading.inputs:
        place = reading.sources[0].column_names().index("") + 1
        raise DataError(
            f'{path}: column {place} has no name; name it, or leave it out by data.ignore: [""]'
        )


def _settle(inputs: Sequence[ColumnScan], n_rows: int) -> TableColumns:
    for scan in inputs:
        scan.check_input(n_rows)
    categories = [scan for scan in inputs if scan.kind == "words"]
    return TableColumns(
        numbers=tuple(scan.name for scan in inputs if scan.kind == "numbers"),
        categories=tuple(scan.name for scan in categories),
        words=tuple(scan.words() for scan in categories),
        gaps={scan.name: scan.n_gaps for scan in inputs if scan.n_gaps},
    )


def _encode(piece: Piece, columns: TableColumns) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    if columns.numbers:
        numbers = [as_numbers(piece.columns[name]) for name in columns.numbers]
        arrays["numbers"] = np.stack(numbers, 1).astype(np.float32)
    if columns.categories:
        codes = [
            as_codes(piece.columns[name], words)
            for name, words in zip(columns.categories, columns.words, strict=True)
        ]
        arrays["codes"] = np.stack(codes, 1)
    return arrays
