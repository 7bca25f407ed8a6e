"""Where Optuna keeps a study: a journal file, or the database that the study file names."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend

from sweeper.config import StudySpec
from sweeper.errors import StoreError, StudyError, SweeperError
from sweeper.locks import FileLock, Lock
from sweeper.paths import RunPaths
from sweeper.text import redacted


def open_storage(spec: StudySpec, paths: RunPaths) -> BaseStorage:
    """The Optuna storage: a journal file unless the study file names a database, or a proxy.

    Raises:
        StudyError: If the database cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=ExperimentalWarning)  # each would come per worker
    if spec.storage == "auto":
        paths.journal.parent.mkdir(parents=True, exist_ok=True)
        lock = _JournalLock(paths)
        return JournalStorage(JournalFileBackend(str(paths.journal), lock_obj=lock))  # type: ignore[arg-type]
    with opening_errors(spec):
        if spec.is_proxied:
            from sweeper.study.storage.grpc_client import ProxiedStorage  # needs an extra

            return ProxiedStorage(spec.storage)
        # Not RDBStorage itself, which reads all trials anew each time: 0.3 s for a thousand.
        return get_storage(spec.storage)


@contextmanager
def opening_errors(spec: StudySpec) -> Iterator[None]:
    """Say where the study file names a database, or a proxy, that cannot be opened."""
    try:
        yield
    except (SweeperError, OSError):
        raise
    except Exception as exc:  # whatever the database's driver raises
        server = "`sweeper proxy`" if spec.is_proxied else "the server"
        raise StudyError(
            f"{spec.place('storage')}: cannot open the study's storage ({describe(exc)}); check "
            f"that {server} runs and the URL is right, or set `storage: auto` for a journal file"
        ) from exc


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what a full disk or a database that went away raises into a :class:`StoreError`.

    Also a decorator. Only our own reads and writes may stand inside, no code of a user.
    """
    try:
        yield
    except Exception as exc:
        if isinstance(exc, BrokenPipeError) or not _is_from_store(exc):
            raise  # the former is of whoever read our output
        raise StoreError(
            f"the study's folder or storage cannot be used: {describe(exc)}. What it held before "
            "is intact: make room, or see to the database; then the same command goes on"
        ) from exc


def _is_from_store(error: Exception) -> bool:
    if isinstance(error, OSError | StorageInternalError):
        return True
    return _package(error) in ("sqlalchemy", "psycopg", "psycopg2", "grpc")


def _package(error: Exception) -> str:
    return type(error).__module__.partition(".")[0]


def describe(error: Any) -> str:
    """What a driver raises, on one line and without passwords."""
    if _package(error) == "grpc":
        text = f"{error.code().name}: {error.details()}"
    else:
        text = f"{type(error).__name__}: {error}"
    return redacted(text).partition("\n")[0]


def open_locks(spec: StudySpec) -> Callable[[Path], Lock]:
    """Locks among all processes that share the study's storage, on whatever machine.

    Returns:
        From a file to its lock. Where the storage has locks of its own, the file's name tells
        them apart, and there need be no file.
    """
    locks = _locks_by_name(spec)
    if locks is None:
        return FileLock
    return lambda file: locks(f"{file.parent.name}/{file.name} of {spec.name}")


def _locks_by_name(spec: StudySpec) -> Callable[[str], Lock] | None:
    """The storage's own locks, if it has some."""
    if spec.is_proxied:
        from sweeper.study.storage.grpc_client import ProxyLock, open_channel

        return partial(ProxyLock, open_channel(spec.storage))
    if spec.storage.startswith("postgresql"):
        # It imports SQLAlchemy, a fifth of a second.
        from sweeper.study.storage.advisory_locks import advisory_locks

        return advisory_locks(spec.storage)
    return None


@contextmanager
def founding(spec: StudySpec) -> Iterator[None]:
    """Be the one that begins the study's run in MLflow, among all machines on its storage.

    MLflow itself makes two if two ask at once. On one machine the mirror's own lock is enough.

    Raises:
        StoreError: If the storage is out of reach.
    """
    with ExitStack() as held:
        if locks := _locks_by_name(spec):
            with store_errors():
                held.enter_context(locks(f"run in MLflow of {spec.name}").held())
        yield
        with store_errors():
            held.close()


class _JournalLock:
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
