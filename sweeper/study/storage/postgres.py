"""PostgreSQL connections of a machine that may vanish, or be stopped, at any moment."""

from optuna.storages import RDBStorage
from sqlalchemy import Connection, event

#: A machine that vanishes would else hold a lock until the server's default of two hours.
#: Seconds, seconds, a number.
KEEPALIVE = {
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
}
#: Milliseconds, after which a process that was stopped holds its locks no longer.
NEVER_FOR_LONG = {**KEEPALIVE, "idle_in_transaction_session_timeout": 60_000}


def settings(verb: str, values: dict[str, int]) -> str:
    """SQL that sets them, for a session or, by ``SET LOCAL``, a transaction."""
    return "; ".join(f"{verb} {name} = {value}" for name, value in values.items())


def let_go(storage: RDBStorage) -> RDBStorage:
    """Let a storage's transactions hold rows no longer than that, if it is on PostgreSQL.

    Otherwise a machine that is suspended while it writes to a trial stops all others that do.
    """
    if storage.engine.dialect.name == "postgresql":
        event.listen(storage.engine, "begin", _limit)
    return storage


def _limit(connection: Connection) -> None:
    # For one transaction, as a pooler hands the connection on.
    connection.exec_driver_sql(settings("SET LOCAL", NEVER_FOR_LONG))
