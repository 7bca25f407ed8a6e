"""What files hold, as far as can be told without reading them."""

import os
from collections.abc import Sequence
from pathlib import Path


def file_identity(paths: Sequence[Path | str]) -> list[tuple[str, int, int]]:
    """Path, size in bytes and time of change in ns of each file: replaced files differ.

    One that is not there has the size -1.
    """
    return [(str(path), *_size_and_time(path)) for path in paths]


def _size_and_time(path: Path | str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except (OSError, ValueError):  # the latter of a name that no file can have
        return -1, 0
    return stat.st_size, stat.st_mtime_ns
