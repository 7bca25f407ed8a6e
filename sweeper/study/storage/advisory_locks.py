"""PostgreSQL's advisory locks, among all who use a database."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from sweeper.locks import Lock
from sweeper.study.storage.postgres import KEEPALIVE, NEVER_FOR_LONG, settings


def advisory_locks(url: str) -> Callable[[str], Lock]:
    """Locks by name; as with ``flock``, one is free once its holder's connection is gone.

    Each hold takes a connection of its own, a few milliseconds: none idles beside a trial.

    Args:
        url: Of the database.
    """
    return partial(_AdvisoryLock, create_engine(url, poolclass=NullPool))


class _AdvisoryLock:
    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._key = _key(name)

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
            # For one transaction, as a pooler hands the connection on.
            connection.exec_driver_sql(settings("SET LOCAL", NEVER_FOR_LONG))
            yield connection.exec_driver_sql(f"SELECT {function}({self._key})").scalar()


class AdvisorySession:
    """One connection that holds any number of locks; for one thread.

    When it breaks all are lost, and the next question opens another.

    Args:
        url: Of the database itself: a pooler may hand each statement to another connection.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._connection: Connection | None = None

    def try_to_take(self, name: str) -> bool:
        """Take a lock that nobody has; whether it is taken."""
        return self._ask("pg_try_advisory_lock", name)

    def give_back(self, name: str) -> None:
        """Give a lock back, if it is still held."""
        if self._connection is not None:
            self._ask("pg_advisory_unlock", name)

    def _ask(self, function: str, name: str) -> bool:
        is_new = self._connection is None
        connection = self._connection = self._connection or self._engine.connect()
        try:
            if is_new:
                connection.exec_driver_sql(settings("SET", KEEPALIVE))
            answer = connection.exec_driver_sql(f"SELECT {function}({_key(name)})")
            return bool(answer.scalar())
        except SQLAlchemyError:
            connection.invalidate()
            self._connection = None
            raise


def _key(name: str) -> int:
    digest = hashlib.sha256(f"sweeper: {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
