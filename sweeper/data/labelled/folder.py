"""The files below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import DataError


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
        DataError: If it cannot be read, has no such file, or has something else of such a name.
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
    for file in files:
        if not (path / file).is_file():
            raise DataError(f"{path / file}: is no file, or a link to none; remove it")
    return Folder(path, files, others)


def _walk(path: Path) -> Iterator[str]:
    for place, folders, files in os.walk(path, followlinks=True, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            _check_link(Path(place, name))
        for name in files:
            if not name.startswith("."):
                yield _as_text(Path(place, name).relative_to(path))


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _check_link(folder: Path) -> None:
    """See that it does not lead back to where it lies."""
    if not folder.is_symlink():
        return
    here = folder.parent.resolve()
    # Those that were passed on the way, too: links may lead to and fro without an end.
    passed = [place.resolve() for place in folder.parents]
    if folder.resolve() in (here, *here.parents, *passed):
        raise DataError(f"{folder}: leads back to {folder.resolve()}; remove the link")


def _as_text(file: Path) -> str:
    name = file.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as exc:
        raise DataError(f"{name!r}: the name of the file is not UTF-8; rename it") from exc
    return name
