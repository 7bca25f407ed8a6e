"""The SQLite store below ``mlruns``, unless the study is tracked elsewhere."""

import logging
import os
import sqlite3
import uuid
from contextlib import closing
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient

from sweeper.durable import Step, durable, replace_file
from sweeper.errors import TrackerError
from sweeper.locks import FileLock
from sweeper.paths import RunPaths

_logger = logging.getLogger("sweeper")

#: So long readers may hold up the merging of the write-ahead log.
_BUSY_TIMEOUT_S = 0.5
#: Where MLflow's database keeps absolute places of files.
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
)


def prepare_store(paths: RunPaths) -> None:
    """Make the store if there is none; let it follow a folder that has moved.

    It is there whole or not at all, as MLflow cannot mend half a one, and in WAL mode, so that
    readers (the UI) and our writes do not wait for each other.

    Raises:
        TrackerError: If it would have the study's files written elsewhere.
    """
    with FileLock(paths.mlflow_lock).held():
        if paths.mlflow_db.exists():
            _follow_move(paths)
            _refuse_elsewhere(paths)
        else:
            _make_store(paths)


def merge_wal(paths: RunPaths) -> None:
    """Bring what was written into ``mlflow.db`` itself, for whoever copies that file alone.

    SQLite does it when the last connection is closed; ours are not, as the process just ends.
    """
    try:
        with closing(sqlite3.connect(paths.mlflow_db, timeout=_BUSY_TIMEOUT_S)) as database:
            is_busy, *_ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        problem = "it is being read" if is_busy else ""
    except sqlite3.OperationalError as exc:
        problem = str(exc)
    if problem:
        path = paths.mlflow_db
        _logger.warning("%s: what was written last lies in %s-wal: %s", path, path.name, problem)


def _make_store(paths: RunPaths) -> None:
    """Let MLflow run its migrations in memory: on disk it waits for each of them.

    The draft has a new name each time, as MLflow remembers by name what it has made.
    """
    draft = f"file:{uuid.uuid4().hex}?mode=memory&cache=shared"
    with (
        durable(Step.MIRROR_STORE),
        replace_file(paths.mlflow_db) as aside,
        closing(sqlite3.connect(draft, uri=True)) as source,  # without it the draft may vanish
        closing(sqlite3.connect(aside)) as copy,
    ):
        MlflowClient(f"sqlite:///{draft}&uri=true")
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=WAL")


def _follow_move(paths: RunPaths) -> None:
    now = paths.artifacts.as_uri()
    with closing(sqlite3.connect(paths.mlflow_db)) as database, database:
        query = "SELECT artifact_location FROM experiments WHERE name = ?"
        (before,) = database.execute(query, (paths.study,)).fetchone() or (now,)
        is_ours = before.startswith("file:") and before.endswith("/mlruns/artifacts")
        if before == now or not is_ours:
            return
        _logger.warning("%s: moved from %s; MLflow is told so", paths.artifacts, before)
        for table, column in _PLACES:
            with durable(Step.MIRROR_STORE):
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ? || '/'",
                    (now, len(before) + 1, before, len(before) + 1, before),
                )


def _refuse_elsewhere(paths: RunPaths) -> None:
    """The store may come from another machine, and MLflow writes wherever it says."""
    folders = tuple(f"{folder}/" for folder in (paths.artifacts, paths.artifacts.resolve()))
    own = "experiment_id = (SELECT experiment_id FROM experiments WHERE name = ?)"
    with closing(sqlite3.connect(paths.mlflow_db)) as database:
        for table, column in _PLACES:
            query = f"SELECT {column} FROM {table} WHERE {own}"
            for (place,) in database.execute(query, (paths.study,)):
                if not f"{_path_of(str(place))}/".startswith(folders):
                    raise TrackerError(
                        f"{paths.mlflow_db}: it has MLflow keep files of study {paths.study!r} at "
                        f"{place}, outside of {paths.artifacts}; move it away, and the next "
                        "`sweeper sync` makes one that has everything"
                    )


def _path_of(place: str) -> str:
    """The folder that MLflow takes for a URL of files; empty for any other."""
    url = urlsplit(place)
    return os.path.normpath(unquote(url.path)) if (url.scheme, url.netloc) == ("file", "") else ""
