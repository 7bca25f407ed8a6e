"""A study that an older sweeper began goes on under this one.

``studies/2bacb41.tar.gz`` holds the working directory of ``sweeper run aged.yaml`` at that commit,
told to stop (SIGTERM) after 7 of 12 trials: complete, pruned and failed ones, and two that were
stopped within an epoch. Later keys, distributions and seeds must not change what it means.
"""

import json
import sqlite3
import tarfile
from pathlib import Path

import pytest

from sweeper.events import Started
from tests.support.sweep import Sweep

ARCHIVE = Path(__file__).parent / "studies" / "2bacb41.tar.gz"
#: Where the archive's MLflow store says that its artifacts lie.
OLD_FOLDER = "/home/ann/mine"
STOPPED = (6, 13)


@pytest.fixture
def older(tmp_path: Path) -> Sweep:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    with sqlite3.connect(tmp_path / "mlruns" / "mlflow.db") as store:
        for table, column in [("experiments", "artifact_location"), ("runs", "artifact_uri")]:
            moved = f"replace({column}, '{OLD_FOLDER}', '{tmp_path}')"
            store.execute(f"UPDATE {table} SET {column} = {moved}")
    sweep = Sweep(tmp_path, name="aged")
    sweep.write("name: aged\n" + (tmp_path / "aged.yaml").read_text())
    return sweep


@pytest.mark.gate
def test_it_goes_on_to_its_exact_goal(older: Sweep) -> None:
    before = older.study().trials()
    runs_before = {run.data.tags["sweeper.trial"]: run.info.run_id for run in older.runs()}
    epochs_before = {number: older.epochs(number) for number in STOPPED}
    assert all(older.paths.checkpoint(number).exists() for number in STOPPED)

    done = older.run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "aged: 12 of 12 trials" in done.stdout
    older.assert_truth(finished=12)
    after = older.study().trials()
    for trial, now in zip(before, after, strict=False):
        assert now.params.items() >= trial.params.items()
        if trial.state.is_finished():
            assert (now.state, now.values, now.user_attrs) == (
                trial.state, trial.values, trial.user_attrs,
            )  # fmt: skip
    for number in STOPPED:
        starts = [event for event in older.events(number) if isinstance(event, Started)]
        assert [start.resumed for start in starts] == [0, 1]
        assert older.epochs(number)[: len(epochs_before[number])] == epochs_before[number]
    runs_after = {run.data.tags["sweeper.trial"]: run.info.run_id for run in older.runs()}
    assert runs_after.items() >= runs_before.items()

    examined = older.run("doctor", "sweep.yaml")

    assert (examined.returncode, examined.stderr) == (0, ""), examined.stdout
    assert "healthy" in examined.stdout


@pytest.mark.gate
def test_its_folder_and_state_are_read_as_they_are(older: Sweep) -> None:
    looked = older.run("status", "sweep.yaml", "--json")
    assert looked.returncode == 0, looked.stderr
    found = json.loads(looked.stdout)
    assert (found["finished"], found["goal"]) == (7, 12)
    sent = older.run("sync", "mlruns/studies/aged")
    assert sent.returncode == 0, sent.stderr
