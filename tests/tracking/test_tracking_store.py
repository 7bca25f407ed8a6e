import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tracked_study import Store

from sweeper.errors import redacted
from sweeper.paths import RunPaths
from sweeper.tracking.store import tracking_uri


def test_a_study_file_names_the_store_before_the_environment_and_mlruns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = RunPaths(tmp_path, "digits")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri("auto", paths) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://lab:5000")
    assert tracking_uri("auto", paths) == "http://lab:5000"
    assert tracking_uri("https://other", paths) == "https://other"


def test_the_local_store_is_created_in_wal_mode(store: Store) -> None:
    with closing(sqlite3.connect(store.paths.mlflow_db)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_secrets_never_stand_in_messages() -> None:
    assert redacted("postgresql://ann:pw@db/x?password=pw&a=1") == (
        "postgresql://***@db/x?password=***&a=1"
    )


def test_the_mirror_loads_no_torch_and_turns_telemetry_off() -> None:
    code = (
        "import sys, sweeper.tracking; assert 'mlflow' not in sys.modules;"
        "import sweeper.tracking.mirror; assert 'torch' not in sys.modules;"
        "from mlflow.telemetry.client import get_telemetry_client as client;"
        "assert client() is None"
    )
    names = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()
