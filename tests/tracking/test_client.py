import os
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sweeper.errors import TrackerError
from sweeper.paths import RunPaths
from sweeper.text import redacted
from sweeper.tracking.address import local_uri
from sweeper.tracking.client import find_or_create_experiment, open_client
from sweeper.tracking.local_store import merge_wal
from tests.support.mlflow_store import copy_empty_database
from tests.support.small_disk import small_disk
from tests.support.tracked_study import Store


@pytest.mark.parametrize("name", ["feature%2Flr", "%41", "what?", "a#b", "a b+c", "ü"])
def test_the_local_store_lies_in_the_folder_whatever_that_is_called(
    tmp_path: Path, name: str
) -> None:
    paths = RunPaths(tmp_path / name / "mlruns", "digits")
    copy_empty_database(paths.mlflow_db)
    client = open_client(local_uri(paths), paths)
    experiment = find_or_create_experiment(client, paths)
    run = client.create_run(experiment)
    file = tmp_path / "note.txt"
    file.write_text("here")
    client.log_artifact(run.info.run_id, str(file))
    with closing(sqlite3.connect(paths.mlflow_db)) as connection:
        assert connection.execute("SELECT run_uuid FROM runs").fetchone() == (run.info.run_id,)
    assert [path.read_text() for path in paths.artifacts.rglob("note.txt")] == ["here"]
    assert os.listdir(tmp_path / name) == ["mlruns"]


@pytest.mark.parametrize(
    ("table", "column", "place"),
    [
        ("experiments", "artifact_location", "file:///home/ann/.ssh"),
        ("runs", "artifact_uri", "file:///home/ann/.ssh"),
        ("runs", "artifact_uri", "{artifacts}/../../../.ssh"),
        ("runs", "artifact_uri", "{artifacts}/%2e%2e/.ssh"),
        ("runs", "artifact_uri", "{artifacts}-of-another"),
        ("runs", "artifact_uri", "file://host{artifacts}"),
        ("runs", "artifact_uri", "s3://bucket"),
        ("logged_models", "artifact_location", "/home/ann/.ssh"),
    ],
)
def test_a_local_store_that_would_write_elsewhere_is_refused(
    store: Store, table: str, column: str, place: str
) -> None:
    experiment = store.mirror().open().experiment_id
    run = store.client.create_run(experiment)
    store.client.create_logged_model(experiment, "m", source_run_id=run.info.run_id)
    open_client(store.uri, store.paths)
    place = place.format(artifacts=store.paths.artifacts.as_uri())
    with closing(sqlite3.connect(store.paths.mlflow_db)) as database, database:
        database.execute(
            f"UPDATE {table} SET {column} = ? WHERE experiment_id = ?", (place, int(experiment))
        )
    with pytest.raises(TrackerError, match=r"mlflow\.db: it has MLflow keep files of study 'digi"):
        open_client(store.uri, store.paths)
    another = RunPaths(store.paths.root, "another")
    open_client(store.uri, another)  # whose files it keeps where they belong


def test_the_local_store_is_created_in_wal_mode(store: Store) -> None:
    with closing(sqlite3.connect(store.paths.mlflow_db)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_database_that_fails_is_told_in_one_sentence_and_not_by_mlflow_as_well(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(store.paths.mlflow_db)) as connection:
        connection.execute("DROP TABLE experiments")
    with pytest.raises(TrackerError, match=r"MLflow cannot be used: .*no such table"):
        find_or_create_experiment(store.client, store.paths)
    assert capfd.readouterr() == ("", "")


def failure(uri: str, paths: RunPaths) -> str:
    with pytest.raises(TrackerError) as caught:
        find_or_create_experiment(open_client(uri, paths), paths)
    return str(caught.value)


SEE_TO_DISK = (
    "; see that the disk has room, and that you may write there. Nothing is lost: events stay on "
    "disk until they can be sent"
)


def test_a_local_store_on_a_full_disk_has_no_server_to_check(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as folder:
        paths = RunPaths(folder / "mlruns", "sweep")
        copy_empty_database(paths.mlflow_db)
        uri = local_uri(paths)
        open_client(uri, paths)
        with (folder / "ballast").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        told = failure(uri, paths)
    assert told.startswith(f"tracking.uri: {uri}: MLflow cannot be used: (sqlite3.")
    assert told.endswith(SEE_TO_DISK)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="there is no folder that refuses all")
def test_where_no_local_store_can_be_made_there_is_no_server_to_check() -> None:
    paths = RunPaths(Path("/sys/kernel/mlruns"), "sweep")
    told = failure(local_uri(paths), paths)
    assert told.endswith(f"Operation not permitted: '/sys/kernel/mlruns'{SEE_TO_DISK}")


def test_a_server_that_does_not_answer_is_to_be_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    told = failure("http://127.0.0.1:1", RunPaths(tmp_path, "sweep"))
    assert "; check the address, the server and its credentials. Nothing is lost" in told


def test_what_somebody_reads_at_the_moment_stays_beside_the_store_and_that_is_said(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    database = store.paths.mlflow_db
    with closing(sqlite3.connect(database)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchone()
        store.client.create_experiment("written since")
        merge_wal(store.paths)
        assert f"{database}: what was written last lies in mlflow.db-wal" in caplog.text
    caplog.clear()
    merge_wal(store.paths)
    assert caplog.text == ""
    assert database.with_name("mlflow.db-wal").stat().st_size == 0


def contents(database: Path) -> dict[str, list[str]]:
    """Every statement and every row that MLflow made, but for the time of experiment 0.

    In which order MLflow names the constraints of a table changes from one store to the next.
    """
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE experiments SET creation_time = 0, last_update_time = 0")
        made = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        rows = {
            f"rows of {name}": list(map(str, connection.execute(f"SELECT * FROM {name}")))
            for kind, name, _ in made
            if kind == "table"
        }
    statements = {
        f"{kind} {name}": sorted(line.strip(" \t,") for line in (sql or "").splitlines())
        for kind, name, sql in made
    }
    return statements | rows


@pytest.mark.slow
def test_the_store_made_in_memory_is_the_one_that_mlflow_makes_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = RunPaths(tmp_path / "mlruns", "digits")
    paths.root.mkdir()
    open_client(local_uri(paths), paths)
    assert sorted(os.listdir(tmp_path)) == ["mlruns"]
    made = {name.partition("-")[0] for name in os.listdir(paths.root)}  # SQLite adds -wal, -shm
    assert made == {"mlflow.db", "mlflow.lock"}
    theirs = tmp_path / "theirs.db"
    MlflowClient(f"sqlite:///{theirs}")
    assert contents(paths.mlflow_db) == contents(theirs)


def test_secrets_never_stand_in_messages() -> None:
    assert redacted("postgresql://ann:pw@db/x?password=pw&a=1") == (
        "postgresql://***@db/x?password=***&a=1"
    )


@pytest.mark.gate  # a process that imports MLflow anew
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
