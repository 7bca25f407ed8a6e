"""Rows that name files, whose content is their input: each is read, and faults are gathered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeVar

from sweeper.data.labelled.cells import as_words
from sweeper.data.labelled.pieces import Piece
from sweeper.errors import DataError

log = logging.getLogger("sweeper")

Value = TypeVar("Value")
#: Faults that are told at once; of files that were copied in a wrong way there are thousands.
_MOST_FAULTS = 5
#: Between two lines on how far it has come.
_TOLD_EVERY_S = 10.0


class FileReader:
    """Reads the files of rows, in their order, within a ``with`` block.

    Its end raises ``DataError`` if some cannot be read.

    Args:
        column: That names them, from the folder of the rows on.
        done: What is told of so many files, such as ``pictures are read``.
    """

    def __init__(self, column: str, done: str) -> None:
        self._column = column
        self._done = done
        self._n_files = 0
        self._faults: list[str] = []
        self._told_s = time.monotonic()

    def each(self, piece: Piece, read: Callable[[Path], Value]) -> Iterator[Value | None]:
        """What was read of each row; None where it cannot be.

        Args:
            piece: The rows.
            read: Raises ``DataError`` that begins with the path.

        Raises:
            DataError: If a row names no file, or too many cannot be read.
        """
        folder = piece.path if piece.files else piece.path.parent
        for row, name in enumerate(as_words(piece.columns[self._column]).to_pylist()):
            if name is None:
                place = piece.place(row, self._column)
                raise DataError(f"{place} names no file; mend it, or drop the row")
            try:
                yield read(folder / name)
            except DataError as exc:
                place = "" if piece.files else f"{piece.path}: row {piece.rows[row]}: "
                self._faults.append(f"{place}{exc}")
                if len(self._faults) == _MOST_FAULTS:
                    self._raise("; there may be more")
                yield None
            self._n_files += 1
            if time.monotonic() - self._told_s >= _TOLD_EVERY_S:
                self._told_s = time.monotonic()
                log.info("%s: %d %s", piece.path, self._n_files, self._done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._faults:
            self._raise("")

    def _raise(self, end: str) -> None:
        raise DataError("\n".join(self._faults) + end)


def is_regular(path: Path) -> bool:
    """Whether there is such a file, and no pipe, which would be waited for."""
    try:
        return path.is_file()
    except OSError:  # of a name that is too long
        return False
