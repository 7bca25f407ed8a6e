"""Where Optuna keeps a study: a journal file, or the database that the study file names."""

import os
import warnings
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend

from sweeper.errors import StudyError, redacted
from sweeper.lock import FileLock
from sweeper.paths import RunPaths
from sweeper.spec import StudySpec


def open_storage(spec: StudySpec, paths: RunPaths) -> BaseStorage:
    """The Optuna storage: a journal file unless the study file names a database.

    Raises:
        StudyError: If the database cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=ExperimentalWarning)  # each would come per worker
    if spec.storage == "auto":
        paths.journal.parent.mkdir(parents=True, exist_ok=True)
        lock = _JournalLock(paths.journal)
        return JournalStorage(JournalFileBackend(str(paths.journal), lock_obj=lock))  # type: ignore[arg-type]
    try:
        # Not RDBStorage itself, which reads all trials anew each time: 0.3 s for a thousand.
        return get_storage(spec.storage)
    except Exception as exc:
        reason = redacted(str(exc).partition("\n")[0])
        raise StudyError(
            f"{spec.place('storage')}: cannot open the study's storage "
            f"({type(exc).__name__}: {reason}); check that the server runs and the URL is right, "
            f"or set `storage: auto` for a journal file"
        ) from exc


class _JournalLock:
    """Optuna takes it before each line that it appends to the journal.

    A full disk, or a process that died while writing, leaves a torn last line, and what is
    appended to that can never be read again. So whoever takes the lock cuts such a line off.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = FileLock(journal.with_suffix(".lock"))

    def acquire(self) -> bool:
        """Wait for the lock, then see that the journal ends with a whole line."""
        self._lock.acquire()
        _cut_torn_line(self._journal)
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


def _cut_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
