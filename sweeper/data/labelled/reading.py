"""Which columns of which rows are read: inputs, targets, and what parts the rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sweeper.config.file_pattern import LABEL, FilePattern
from sweeper.config.holdout import Holdout, TestRows, marking_column
from sweeper.config.problems import did_you_mean
from sweeper.config.settings import DataConfig
from sweeper.data.labelled.cells import as_codes, as_words
from sweeper.data.labelled.file_rows import FileRows
from sweeper.data.labelled.folder import list_folder
from sweeper.data.labelled.folder_rows import FolderRows
from sweeper.data.labelled.location import FILE_SUFFIXES, row_files
from sweeper.data.labelled.pieces import Piece, RowSource
from sweeper.errors import DataError
from sweeper.text import format_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger("sweeper")


def open_sources(config: DataConfig, texts: Sequence[str] = ()) -> list[RowSource]:
    """Where the rows are and, if the study file names it, where the validation rows are.

    Args:
        config: Of the data.
        texts: As of :class:`~sweeper.data.labelled.file_rows.FileRows`.

    Raises:
        DataError: If one is not there, or is a folder without files of the kind.
    """
    return [_open(path, config, texts) for path in row_files(config)]


def _open(path: Path, config: DataConfig, texts: Sequence[str]) -> RowSource:
    pattern = config.params.get("pattern")
    if path.is_dir():
        folder = list_folder(path, FILE_SUFFIXES[config.name])
        if folder.others:
            log.info(
                "%s: left out as of another kind: %s, such as %s",
                path,
                format_count(len(folder.others), "file"),
                folder.others[0],
            )
        return FolderRows(folder, None if pattern is None else FilePattern.of(pattern))
    if pattern is not None:
        raise DataError(
            f"data.pattern: spells the names of files in a folder, and {path} is a file; drop it"
        )
    return FileRows(path, texts)


@dataclass(frozen=True)
class Reading:
    """Which columns of which rows are read, and which rows not.

    Attributes:
        sources: The second, if there is one, holds the validation rows.
        inputs: Names of the columns that a model sees.
        targets: Names of those that it learns.
        is_list: Whether the study file gives the targets as a list.
        holdout: ``data.validation``.
        mark: The column that tells rows apart.
        test: ``data.test``.
        block_rows: No piece is larger, where inputs are large; None for pieces as they come.
    """

    sources: Sequence[RowSource]
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    is_list: bool
    holdout: Holdout
    mark: str | None
    test: TestRows | None
    block_rows: int | None = None

    @classmethod
    def of(
        cls,
        config: DataConfig,
        sources: Sequence[RowSource],
        column: str | None = None,
        block_rows: int | None = None,
    ) -> Reading:
        """See that every column that the study file names is there.

        Args:
            config: Of the data.
            sources: Of the rows.
            column: The only input; None for all columns that have no other purpose.
            block_rows: As of the attribute.
        """
        names = sources[0].column_names()
        target, mark = config.params.get("target", LABEL), marking_column(config.validation)
        test: TestRows | None = config.params.get("test")
        asked = {
            "data.target": [target] if isinstance(target, str) else list(target),
            "data.column": [] if column is None else [column],
            "data.ignore": config.params.get("ignore", []),
            "data.validation": [] if mark is None else [mark],
            "data.test": [] if test is None or test["column"] == mark else [test["column"]],
        }
        _check_named(asked, names, sources[0].path)
        taken = {name for columns in asked.values() for name in columns}
        others = tuple(name for name in names if name not in taken)
        reading = cls(
            sources,
            others if column is None else (column,),
            tuple(asked["data.target"]),
            not isinstance(target, str),
            config.validation,
            mark,
            test,
            block_rows,
        )
        for source in sources[1:]:
            there = source.column_names()
            for name in (name for name in reading.names if name not in there):
                hint = did_you_mean(name, there)
                raise DataError(
                    f"data.validation: {source.path} has no column {name!r}, and "
                    f"{sources[0].path} has{hint}"
                )
        return reading

    @property
    def names(self) -> tuple[str, ...]:
        """Of all columns that are read."""
        return (*self.inputs, *self.targets, *self._parting)

    @property
    def _parting(self) -> tuple[str, ...]:
        """Of those that are no more than words for parts of the rows."""
        columns = (self.mark, None if self.test is None else self.test["column"])
        return tuple(dict.fromkeys(name for name in columns if name is not None))

    @property
    def is_marked(self) -> bool:
        """Whether something else than a share parts the rows."""
        return not isinstance(self.holdout, float)

    def pieces(self) -> Iterator[tuple[Piece, int]]:
        """All rows, each piece with the index of its source."""
        for number, source in enumerate(self.sources):
            for whole in source.pieces(self.names):
                words = {name: as_words(whole.columns[name]) for name in self._parting}
                piece = replace(whole, columns={**whole.columns, **words})
                for block in piece.blocks(self.block_rows) if self.block_rows else (piece,):
                    yield block, number

    def kept(self, piece: Piece) -> Piece:
        """Without the rows of the test, whichever key names them."""
        piece = self.without_test(piece)
        if isinstance(self.holdout, float) or "column" not in self.holdout:
            return piece
        if "test" not in self.holdout:
            return piece
        column = piece.columns[self.holdout["column"]]
        return piece.without(as_codes(column, [str(self.holdout["test"])]) == 0)

    def without_test(self, piece: Piece) -> Piece:
        """Without the rows that ``data.test`` names."""
        if self.test is None:
            return piece
        return piece.without(as_codes(piece.columns[self.test["column"]], self.test_words) >= 0)

    @property
    def test_words(self) -> list[str]:
        """What the column of ``data.test`` holds for its rows."""
        value = [] if self.test is None else self.test["value"]
        return [str(word) for word in (value if isinstance(value, list) else [value])]

    def marks(
        self, piece: Piece, source_number: int, groups: Sequence[str]
    ) -> NDArray[np.int32] | None:
        """Of each row its group, or whether it is held out; None if a share is."""
        if isinstance(self.holdout, float):
            return None
        if "path" in self.holdout or self.mark is None:
            return np.full(len(piece.rows), source_number, np.int32)
        column = piece.columns[self.mark]
        if "by" in self.holdout:
            return as_codes(column, groups)
        return as_codes(column, [str(self.holdout["value"])]) + np.int32(1)


def _check_named(asked: Mapping[str, Sequence[str]], names: Sequence[str], path: Path) -> None:
    for key, columns in asked.items():
        for name in columns:
            if name not in names:
                raise DataError(f"{key}: {path} has no column {name!r}{did_you_mean(name, names)}")
    taken: dict[str, str] = {}
    for key, columns in asked.items():
        for name in columns:
            if name in taken:
                how = "twice" if taken[name] == key else f"by {taken[name]} too"
                raise DataError(f"{key}: column {name!r} is named {how}; name it once")
            taken[name] = key
