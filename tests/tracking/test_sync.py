"""The end of a command waits for MLflow, but no longer than it may."""

import socket
from pathlib import Path

import pytest

from sweeper.commands.sync import sync_study
from sweeper.errors import TrackerError
from sweeper.tracking.sync import BackgroundSync
from tests.support.sweep_studies import reports
from tests.support.tracked_sweeps import TAGS, TrackedSweep, begin_sweep


@pytest.fixture
def sweep(tmp_path: Path) -> TrackedSweep:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.run(reports(0.5, 0.75))
    return sweep


def test_the_end_of_a_command_sends_all_and_closes_the_parent_run(sweep: TrackedSweep) -> None:
    notes: list[str] = []
    sync = BackgroundSync(sweep.study, TAGS, notes.append)
    sync.start()
    assert sync.finish(lambda: False)
    assert [run.info.status for run in sweep.runs()] == ["FINISHED"]
    assert [run.info.status for run in sweep.runs("study")] == ["FINISHED"]
    # A slow machine makes the user wait for it, and says so.
    assert all(text.startswith("sending the rest to MLflow") for text in notes)


def test_a_command_that_was_told_to_stop_leaves_the_rest_to_sync(
    sweep: TrackedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as mute:  # takes the connection and never answers
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{mute.getsockname()[1]}")
        sync = BackgroundSync(sweep.study, TAGS, lambda text: None)
        sync.start()
        assert not sync.finish(lambda: False, limit_s=0.5)
        assert sync._thread.is_alive()  # the request waits for 20 s
    sync._thread.join()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    line = sync_study(sweep.file, root=sweep.root, note=pytest.fail)
    assert line.startswith("small: sent 4 events of 1 trial")


def test_trouble_with_mlflow_is_said_once_and_that_it_is_over(sweep: TrackedSweep) -> None:
    notes: list[str] = []
    sync = BackgroundSync(sweep.study, TAGS, notes.append)

    def refuse() -> None:
        raise TrackerError("MLflow is away")

    for _ in range(2):
        sync._try(refuse)
    sync._try(lambda: None)
    sync._try(lambda: None)
    assert notes == [
        f"MLflow is away\nTraining goes on; the events wait in {sweep.study.paths.study_dir}",
        "MLflow answers again; everything held back has been sent",
    ]
