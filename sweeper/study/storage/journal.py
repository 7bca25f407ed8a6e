"""The journal that Optuna keeps a study in: who appends to it, and lines that are torn."""

import os
from pathlib import Path

from sweeper.locks import FileLock
from sweeper.paths import RunPaths


class JournalLock:
    """Optuna takes it before each line that it appends to the journal.

    A full disk, or a process that died while writing, leaves a torn last line, and what is
    appended to that can never be read again. So whoever takes the lock cuts such a line off.
    """

    def __init__(self, paths: RunPaths) -> None:
        self._journal = paths.journal
        self._lock = FileLock(paths.journal_lock)

    def acquire(self) -> bool:
        """Wait for the lock, then see that the journal ends with a whole line."""
        self._lock.acquire()
        cut_torn_tail(self._journal)
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


def has_torn_tail(path: Path) -> bool:
    """Whether the file's last line was not written to its end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return False
        file.seek(size - 1)
        return file.read(1) != b"\n"


def cut_torn_tail(path: Path) -> None:
    """Cut off a last line that was not written to its end."""
    if has_torn_tail(path):
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
