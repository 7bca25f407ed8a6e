"""A folder of files -> rows with named columns, as a table has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sweeper.config.file_pattern import FILE, LABEL, FilePattern
from sweeper.data.labelled.folder import Folder
from sweeper.data.labelled.pieces import Piece
from sweeper.errors import DataError

#: Files whose names are split at a time.
_BLOCK_ROWS = 2**16


@dataclass(frozen=True)
class FolderRows:
    """Files as rows; see :class:`~sweeper.data.labelled.pieces.RowSource`.

    Attributes:
        folder: Its files.
        pattern: Says what their paths spell; without one they begin with the class,
            ``{label}/...``.
    """

    folder: Folder
    pattern: FilePattern | None = None

    @property
    def path(self) -> Path:
        """Of the folder."""
        return self.folder.path

    def column_names(self) -> list[str]:
        """The path of a file, and what it spells."""
        return [FILE, *(self.pattern.columns if self.pattern else (LABEL,))]

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """All rows of some columns.

        Raises:
            DataError: If a path has another form.
        """
        columns = self.column_names()
        for first in range(0, len(self.folder.files), _BLOCK_ROWS):
            files = self.folder.files[first : first + _BLOCK_ROWS]
            rows = [(file, *_spelt(self.path, file, self.pattern)) for file in files]
            values = dict(zip(columns, zip(*rows, strict=True), strict=True))
            yield Piece(
                path=self.path,
                rows=range(first + 1, first + 1 + len(files)),
                columns={name: pa.array(values[name], pa.string()) for name in names},
                is_typed=self.pattern is None,  # a folder is a class, one called 7 too
                files=files,
            )


def _spelt(folder: Path, file: str, pattern: FilePattern | None) -> tuple[str, ...]:
    if pattern is None:
        label, _, rest = file.partition("/")
        if not rest:
            raise DataError(
                f"{folder / file}: lies in no folder of its own, which would be its class; move "
                "it into one, or say by data.pattern what its name means"
            )
        return (label,)
    try:
        values = pattern.match(file)
    except ValueError as exc:
        raise DataError(
            f"{folder / file}: data.pattern {pattern.text!r} fits in two ways: {exc}; rename the "
            "file, or give another pattern"
        ) from exc
    if values is None:
        raise DataError(
            f"{folder / file}: does not fit data.pattern {pattern.text!r}; move it elsewhere, or "
            "give another pattern"
        )
    return values
