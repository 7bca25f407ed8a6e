"""Where Optuna keeps a study: a journal file, or the database that the study file names."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend

from sweeper.errors import StoreError, StudyError, SweeperError, redacted
from sweeper.lock import FileLock, Lock
from sweeper.paths import RunPaths
from sweeper.spec import StudySpec

if TYPE_CHECKING:
    from sqlalchemy import Engine


def open_storage(spec: StudySpec, paths: RunPaths) -> BaseStorage:
    """The Optuna storage: a journal file unless the study file names a database.

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
        # Not RDBStorage itself, which reads all trials anew each time: 0.3 s for a thousand.
        return get_storage(spec.storage)


@contextmanager
def opening_errors(spec: StudySpec) -> Iterator[None]:
    """Say where the study file names a database that cannot be opened."""
    try:
        yield
    except (SweeperError, OSError):
        raise
    except Exception as exc:  # whatever the database's driver raises
        reason = redacted(str(exc)).partition("\n")[0]
        raise StudyError(
            f"{spec.place('storage')}: cannot open the study's storage "
            f"({type(exc).__name__}: {reason}); check that the server runs and the URL is right, "
            f"or set `storage: auto` for a journal file"
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
        reason = redacted(f"{type(exc).__name__}: {exc}").partition("\n")[0]
        raise StoreError(
            f"the study's folder or storage cannot be used: {reason}. What it held before is "
            "intact: make room, or see to the database; then the same command goes on"
        ) from exc


def _is_from_store(error: Exception) -> bool:
    if isinstance(error, OSError | StorageInternalError):
        return True
    return type(error).__module__.partition(".")[0] in ("sqlalchemy", "psycopg", "psycopg2")


def open_locks(spec: StudySpec) -> Callable[[Path], Lock]:
    """Locks among all processes that share the study's storage, on whatever machine.

    Returns:
        From a file to its lock. Where the storage has locks of its own, the file's name tells
        them apart, and there need be no file.
    """
    if not spec.storage.startswith("postgresql"):
        return FileLock
    engine = _lock_engine(spec)
    return lambda file: _AdvisoryLock(engine, f"{file.parent.name}/{file.name} of {spec.name}")


@contextmanager
def founding(spec: StudySpec) -> Iterator[None]:
    """Be the one that begins the study's run in MLflow, among all machines on its storage.

    MLflow itself makes two if two ask at once. On one machine the mirror's own lock is enough.

    Raises:
        StoreError: If the storage is out of reach.
    """
    with ExitStack() as held:
        if spec.storage.startswith("postgresql"):
            with store_errors():
                lock = _AdvisoryLock(_lock_engine(spec), f"run in MLflow of {spec.name}")
                held.enter_context(lock.held())
        yield
        with store_errors():
            held.close()


def _lock_engine(spec: StudySpec) -> "Engine":
    """Makes a connection for each hold, a few milliseconds: none idles beside a trial."""
    from sqlalchemy import NullPool, create_engine

    return create_engine(spec.storage, poolclass=NullPool)


#: A machine that vanishes would else hold a lock until the server's default of two hours, and a
#: process that was stopped for ever. Seconds, a number, milliseconds; for one transaction, as a
#: pooler hands the connection on.
_NEVER_FOR_LONG = (
    "SET LOCAL tcp_keepalives_idle = 10; SET LOCAL tcp_keepalives_interval = 5; "
    "SET LOCAL tcp_keepalives_count = 3; "
    "SET LOCAL idle_in_transaction_session_timeout = 60000"
)


class _AdvisoryLock:
    """A lock of PostgreSQL's own; as ``flock``, free once its holder's connection is gone."""

    def __init__(self, engine: "Engine", name: str) -> None:
        self._engine = engine
        digest = hashlib.sha256(f"sweeper: {name}".encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._asked("pg_advisory_xact_lock"):
            yield

    @contextmanager
    def tried(self) -> Iterator[bool]:
        with self._asked("pg_try_advisory_xact_lock") as is_held:
            yield bool(is_held)

    @contextmanager
    def _asked(self, function: str) -> Iterator[Any]:
        """What the function says of the lock, in a transaction that holds it."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql(_NEVER_FOR_LONG)
            yield connection.exec_driver_sql(f"SELECT {function}({self._key})").scalar()


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
