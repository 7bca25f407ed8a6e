"""Where Optuna keeps a study: a journal file, or the database that the study file names."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage

from sweeper.config.study import StudySpec
from sweeper.errors import UNWRITABLE, StoreError, StudyError, SweeperError
from sweeper.paths import RunPaths
from sweeper.study.storage.journal import Journal
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
        return Journal(paths)
    with opening_errors(spec):
        if spec.is_proxied:
            from sweeper.study.storage.grpc_client import ProxiedStorage  # needs an extra

            return ProxiedStorage(spec.storage)
        from sweeper.study.storage.database import (
            Database,
        )  # SQLAlchemy, which a journal needs not
        from sweeper.study.storage.postgres import let_go

        return Database(let_go(RDBStorage(spec.storage)))


@contextmanager
def opening_errors(spec: StudySpec) -> Iterator[None]:
    """Say where the study file names a database, or a proxy, that cannot be opened."""
    try:
        yield
    except (SweeperError, OSError):
        raise
    except RuntimeError as exc:  # Optuna's, of tables that are none of its own of this version
        raise StudyError(
            f"{spec.place('storage')}: another version of Optuna, or another program such as "
            f"MLflow, has made the tables there ({describe(exc)}); name another database"
        ) from exc
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
            f"is intact: {_way_out(exc)}; then the same command goes on"
        ) from exc


def _is_from_store(error: Exception) -> bool:
    if isinstance(error, OSError | StorageInternalError):
        return True
    return _package(error) in ("sqlalchemy", "psycopg", "psycopg2", "grpc")


def _way_out(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return "see that you may write there"
    return "make room, or see to the database"


def _package(error: Exception) -> str:
    return type(error).__module__.partition(".")[0]


def describe(error: Any) -> str:
    """What a driver raises, on one line and without passwords."""
    if _package(error) == "grpc":
        text = f"{error.code().name}: {error.details()}"
    else:
        text = f"{type(error).__name__}: {error}"
    return redacted(text).partition("\n")[0]
