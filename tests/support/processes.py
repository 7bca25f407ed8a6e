"""Processes of this machine, found by where they work."""

import os
from collections.abc import Iterator
from pathlib import Path


def processes_in(folder: Path) -> dict[int, str]:
    """Process ids and command lines of all whose working directory is ``folder``.

    Who has started them does not matter, nor in which group or session they are.
    """
    return dict(_find(folder.resolve()))


def _find(folder: Path) -> Iterator[tuple[int, str]]:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if os.readlink(process / "cwd") == str(folder):  # a zombie has none
                    words = process.joinpath("cmdline").read_bytes().split(b"\0")
                    yield int(process.name), b" ".join(words).decode(errors="replace")
            except OSError:  # it has ended since
                continue
