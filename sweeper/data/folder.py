"""A folder of files -> rows with named columns, as a table has them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sweeper.config.file_pattern import FILE, LABEL, FilePattern
from sweeper.data.table_files import Piece
from sweeper.errors import DataError

#: Files whose names are split at a time.
_BLOCK_ROWS = 2**16


@dataclass(frozen=True)
class Folder:
    """Files below a folder, each of them a row.

    Attributes:
        path: The folder.
        files: Relative to it, with ``/`` between folders, in an order that is the same on every
            machine.
        others: Files that are not of the wanted kind, and no rows.
    """

    path: Path
    files: Sequence[str]
    others: Sequence[str]


def list_folder(path: Path, suffixes: Sequence[str]) -> Folder:
    """Find the files below a folder, but for hidden ones.

    Args:
        path: The folder; folders that are linked there are looked into.
        suffixes: Lower-case ends of the names that are wanted, such as ``.wav``.

    Raises:
        DataError: If it cannot be read, or has no such file.
    """
    found = sorted(_walk(path), key=lambda file: file.split("/"))
    files = [file for file in found if file.lower().endswith(tuple(suffixes))]
    others = [file for file in found if not file.lower().endswith(tuple(suffixes))]
    if not files:
        there = f", but {others[0]}" if others else ""
        raise DataError(
            f"{path}: has no file that ends in {', '.join(suffixes)}{there}; name another folder "
            "by data.path"
        )
    return Folder(path, files, others)


def _walk(path: Path) -> Iterator[str]:
    for place, folders, files in os.walk(path, followlinks=True, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            _check_link(Path(place, name))
        for file in (Path(place, name) for name in files if not name.startswith(".")):
            if not file.is_file():
                raise DataError(f"{file}: is no file, or a link to none; remove it")
            yield _as_text(file.relative_to(path))


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _check_link(folder: Path) -> None:
    """See that it does not lead back to where it lies."""
    here = folder.parent.resolve()
    if folder.is_symlink() and folder.resolve() in (here, *here.parents):
        raise DataError(f"{folder}: leads back to {folder.resolve()}; remove the link")


def _as_text(file: Path) -> str:
    name = file.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as exc:
        raise DataError(f"{name!r}: the name of the file is not UTF-8; rename it") from exc
    return name


def folder_columns(pattern: FilePattern | None) -> list[str]:
    """The names of all columns of a folder's rows."""
    return [FILE, *(pattern.columns if pattern else (LABEL,))]


def read_folder(
    folder: Folder, names: Sequence[str], pattern: FilePattern | None = None
) -> Iterator[Piece]:
    """The rows of some columns.

    Args:
        folder: Its files.
        names: Of the columns.
        pattern: Says what the paths spell; without one they begin with the class,
            ``{label}/...``.

    Raises:
        DataError: If a path has another form.
    """
    columns = folder_columns(pattern)
    for first in range(0, len(folder.files), _BLOCK_ROWS):
        files = folder.files[first : first + _BLOCK_ROWS]
        rows = [(file, *_spelt(folder.path, file, pattern)) for file in files]
        values = dict(zip(columns, zip(*rows, strict=True), strict=True))
        yield Piece(
            path=folder.path,
            rows=range(first + 1, first + 1 + len(files)),
            columns={name: pa.array(values[name], pa.string()) for name in names},
            is_typed=False,
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
