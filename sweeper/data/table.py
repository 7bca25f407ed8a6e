"""A table: its files -> arrays on disk, of all that a trial may read of it.

    <cache_dir>/table-0123456789abcdef/numbers.bin   float32 [N, F], NaN where nothing is
                                       codes.bin     int32 [N, K], -1 where nothing is
                                       targets.bin   int64 [N], bool [N, T] or float32 [N, T]
                                       marks.bin     int32 [N], if the rows are not parted by share
                                       meta.json     with the words that the codes stand for

The files are read twice, a piece at a time: once to see what each column holds, once to write it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from sweeper.config.holdout import Holdout, marking_column
from sweeper.config.problems import did_you_mean
from sweeper.config.settings import DataConfig
from sweeper.data.content import ArrayForm, Content
from sweeper.data.sources import table_files
from sweeper.data.table_columns import ColumnScan, as_codes, as_numbers, as_words
from sweeper.data.table_files import Piece, column_names, read_pieces
from sweeper.data.table_form import TableColumns
from sweeper.data.table_targets import class_names, encode_targets, settle_task
from sweeper.durable import replace_file
from sweeper.errors import DataError
from sweeper.trial import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_table(config: DataConfig, folder: Path) -> Content:
    """Read the files of a table, and write their arrays.

    Raises:
        DataError: If the files cannot be read, or do not hold what the study file says.
    """
    reading = _Reading.of(config)
    scan = _Scan(reading)
    for piece, _ in reading.pieces():
        scan.take(piece)
    columns = scan.settle(config.task)
    forms, n_rows = _forms(columns, reading), scan.n_rows
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(
                stack.enter_context(replace_file(folder / f"{name}.bin")).open("wb")
            )
            for name in forms
        }
        for whole_piece, file_number in reading.pieces():
            piece = reading.kept(whole_piece)
            _write_piece(files, piece, columns, scan, reading.marks(piece, file_number, scan))
    arrays = {name: ArrayForm(kind, (n_rows, *shape)) for name, (kind, shape) in forms.items()}
    return Content(arrays, {"columns": asdict(columns)})


def _forms(columns: TableColumns, reading: _Reading) -> dict[str, tuple[str, tuple[int, ...]]]:
    """dtype, and shape of a row, of every array that has values."""
    kinds = {"classification": "int64", "multilabel": "bool", "regression": "float32"}
    shape = () if columns.task == "classification" else (len(columns.targets),)
    forms: dict[str, tuple[str, tuple[int, ...]]] = {
        "numbers": ("float32", (len(columns.numbers),)),
        "codes": ("int32", (len(columns.categories),)),
        "targets": (kinds[columns.task], shape),
    }
    if reading.is_marked:
        forms["marks"] = ("int32", ())
    return {name: form for name, form in forms.items() if 0 not in form[1]}


def _write_piece(
    files: Mapping[str, IO[bytes]],
    piece: Piece,
    columns: TableColumns,
    scan: _Scan,
    marks: NDArray[np.int32] | None,
) -> None:
    if columns.numbers:
        numbers = [as_numbers(piece.columns[name]) for name in columns.numbers]
        files["numbers"].write(np.stack(numbers, 1).astype(np.float32).tobytes())
    if columns.categories:
        codes = [
            as_codes(piece.columns[name], words)
            for name, words in zip(columns.categories, columns.words, strict=True)
        ]
        files["codes"].write(np.stack(codes, 1).tobytes())
    targets = encode_targets(piece, scan.targets, columns.task, columns.classes)
    files["targets"].write(targets.tobytes())
    if marks is not None:
        files["marks"].write(marks.tobytes())


@dataclass(frozen=True)
class _Reading:
    """Which columns of which files are read, and which rows not.

    Attributes:
        files: The second, if there is one, holds the validation rows.
        inputs: Names of the columns that a model sees.
        targets: As the study file has it, a name or a list.
        holdout: ``data.validation``.
        mark: The column that tells rows apart.
    """

    files: tuple[Path, ...]
    inputs: tuple[str, ...]
    targets: str | Sequence[str]
    holdout: Holdout
    mark: str | None

    @classmethod
    def of(cls, config: DataConfig) -> _Reading:
        """See that every column that the study file names is there."""
        files = tuple(table_files(config))
        names = column_names(files[0])
        targets, ignored = config.params["target"], config.params.get("ignore", [])
        mark = marking_column(config.validation)
        asked = {"data.target": _listed(targets), "data.ignore": ignored}
        asked["data.validation"] = [] if mark is None else [mark]
        for key, columns in asked.items():
            for name in columns:
                if name not in names:
                    hint = did_you_mean(name, names)
                    raise DataError(f"{key}: {files[0]} has no column {name!r}{hint}")
        taken = [name for columns in asked.values() for name in columns]
        for name in taken:
            if taken.count(name) > 1:
                raise DataError(f"data.target: column {name!r} is named twice; name it once")
        inputs = tuple(name for name in names if name not in taken)
        if not inputs:
            raise DataError(
                f"data.ignore: no column of {files[0]} is left to learn from; leave out fewer"
            )
        if "" in inputs:
            raise DataError(
                f"{files[0]}: column {names.index('') + 1} has no name; name it, or leave it out "
                'by data.ignore: [""]'
            )
        reading = cls(files, inputs, targets, config.validation, mark)
        for path in files[1:]:
            there = column_names(path)
            for name in (name for name in reading.names if name not in there):
                hint = did_you_mean(name, there)
                raise DataError(
                    f"data.validation: {path} has no column {name!r}, and {files[0]} has{hint}"
                )
        return reading

    @property
    def names(self) -> tuple[str, ...]:
        """Of all columns that are read."""
        marks = () if self.mark is None else (self.mark,)
        return (*self.inputs, *_listed(self.targets), *marks)

    @property
    def is_marked(self) -> bool:
        """Whether something else than a share parts the rows."""
        return not isinstance(self.holdout, float)

    def pieces(self) -> Iterator[tuple[Piece, int]]:
        """All rows, each piece with the index of its file."""
        for file_number, path in enumerate(self.files):
            for piece in read_pieces(path, self.names):
                if self.mark is not None:
                    column = as_words(piece.columns[self.mark])
                    piece = replace(piece, columns={**piece.columns, self.mark: column})
                yield piece, file_number

    def kept(self, piece: Piece) -> Piece:
        """Without the rows of the test."""
        if self.test is None or self.mark is None:
            return piece
        return piece.without(as_codes(piece.columns[self.mark], [self.test]) == 0)

    @property
    def test(self) -> str | None:
        """The word of rows that are not read."""
        if isinstance(self.holdout, float) or "column" not in self.holdout:
            return None
        return str(self.holdout["test"]) if "test" in self.holdout else None

    def marks(self, piece: Piece, file_number: int, scan: _Scan) -> NDArray[np.int32] | None:
        """Of each row its group, or whether it is held out; None if a share is."""
        if isinstance(self.holdout, float):
            return None
        if "path" in self.holdout or self.mark is None:
            return np.full(len(piece.rows), file_number, np.int32)
        column = piece.columns[self.mark]
        if "by" in self.holdout:
            return as_codes(column, scan.marks.words())
        return as_codes(column, [str(self.holdout["value"])]) + np.int32(1)


def _listed(targets: str | Sequence[str]) -> list[str]:
    return [targets] if isinstance(targets, str) else list(targets)


class _Scan:
    """Of all columns that are read."""

    def __init__(self, reading: _Reading) -> None:
        self._reading = reading
        self.n_rows = 0
        self.inputs = [ColumnScan(name) for name in reading.inputs]
        self.targets = [ColumnScan(name, keeps_numbers=True) for name in _listed(reading.targets)]
        self.marks = ColumnScan(reading.mark or "", is_text=True)
        self._rows_of: Counter[Path] = Counter()

    def take(self, piece: Piece) -> None:
        """Look at the next rows."""
        if self._reading.mark is not None:
            self.marks.take(piece)
        piece = self._reading.kept(piece)
        self.n_rows += len(piece.rows)
        self._rows_of[piece.path] += len(piece.rows)
        for scan in (*self.inputs, *self.targets):
            scan.take(piece)

    def settle(self, stated: Task | None) -> TableColumns:
        """What the columns hold.

        Raises:
            DataError: If nothing can be learned from them, or the rows cannot be parted.
        """
        for path in self._reading.files:
            if not self._rows_of[path]:
                raise DataError(f"{path}: has no rows to learn from")
        self._check_marks()
        is_list = not isinstance(self._reading.targets, str)
        task = settle_task(self.targets, stated, is_list=is_list)
        for scan in self.inputs:
            scan.check_input(self.n_rows)
        categories = [scan for scan in self.inputs if scan.kind == "words"]
        return TableColumns(
            numbers=tuple(scan.name for scan in self.inputs if scan.kind == "numbers"),
            categories=tuple(scan.name for scan in categories),
            words=tuple(scan.words() for scan in categories),
            gaps={scan.name: scan.n_gaps for scan in self.inputs if scan.n_gaps},
            targets=tuple(scan.name for scan in self.targets),
            task=task,
            classes=class_names(self.targets, task),
        )

    def _check_marks(self) -> None:
        holdout = self._reading.holdout
        if isinstance(holdout, float) or "path" in holdout:
            return
        if self.marks.n_gaps:
            raise DataError(f"{self.marks.first_gap}, which parts the rows, has no value; mend it")
        words = self.marks.words()
        if "by" in holdout:
            if len(words) == 1:
                raise DataError(
                    f"data.validation: column {self.marks.name!r} holds {words[0]!r} in every "
                    "row; wanted are at least two groups: choose another column, or a share"
                )
            return
        asked = [str(holdout[key]) for key in ("value", "test") if key in holdout]
        for word in asked:
            if word not in words:
                raise DataError(
                    f"data.validation: no row has {word!r} in column {self.marks.name!r}"
                    f"{did_you_mean(word, words)}"
                )
        if set(words) <= set(asked):
            raise DataError(
                f"data.validation: every row has {' or '.join(map(repr, asked))} in column "
                f"{self.marks.name!r}, so none is left to train on"
            )
