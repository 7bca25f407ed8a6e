"""Empty MLflow databases at the price of a copy; making one takes seconds."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path

from mlflow.store.db import utils

from sweeper.paths import RunPaths
from sweeper.tracking.address import tracking_uri
from sweeper.tracking.client import open_client

# MLflow asks all its migrations which is the last one, whenever it opens a store: half of what
# that costs, and always the same.
utils._get_latest_schema_revision = cache(utils._get_latest_schema_revision)


@cache
def _template() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    folder = tempfile.TemporaryDirectory()
    paths = RunPaths(Path(folder.name), "empty")
    open_client(tracking_uri("auto", paths), paths)
    with closing(sqlite3.connect(paths.mlflow_db)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder, paths.mlflow_db


def copy_empty_database(target: Path) -> None:
    """Lay a database with MLflow's tables and nothing in them at ``target``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(_template()[1], target)
