import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tracked_study import Store

from sweeper.paths import RunPaths
from sweeper.tracking.store import open_client, tracking_uri


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    paths = RunPaths(tmp_path_factory.mktemp("empty"), "empty")
    open_client(tracking_uri("auto", paths), paths)
    with closing(sqlite3.connect(paths.mlflow_db)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return paths.mlflow_db


@pytest.fixture
def store(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    paths = RunPaths(tmp_path / "mlruns", "digits")
    paths.study_dir.mkdir(parents=True)
    paths.resolved_spec.write_text("name: digits\n")
    shutil.copy(empty_database, paths.mlflow_db)
    uri = tracking_uri("auto", paths)
    yield Store(paths, uri, open_client(uri, paths))
    assert os.listdir(tmp_path) == ["mlruns"], "MLflow wrote into the working directory"
