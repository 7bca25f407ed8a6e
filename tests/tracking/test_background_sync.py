"""The end of a command waits for MLflow, but no longer than it may."""

import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from sweeper.commands.sync import sync_study
from sweeper.errors import RequestRefusedError, TrackerError
from sweeper.locks import FileLock
from sweeper.study.running_trial import RunningTrial
from sweeper.tracking import background_sync
from sweeper.tracking.background_sync import BackgroundSync
from sweeper.tracking.exporter import Exporter
from sweeper.tracking.exporting import Exported, ExportTask
from sweeper.tracking.sync import build_mirror
from tests.support.sweep import wait_until
from tests.support.sweep_studies import reports
from tests.support.tracked_sweeps import MODEL, TAGS, TrackedSweep, begin_sweep

pytestmark = pytest.mark.usefixtures("no_pictures")


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


class ExporterHere(Exporter):
    """One that needs no process."""

    is_closed = False

    def begin(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


def test_what_the_end_needs_is_made_before_there_is_anything_to_send(
    tmp_path: Path, traces: list[nn.Module]
) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    exporter = ExporterHere()
    sync = BackgroundSync(sweep.study, TAGS, lambda text: None, exporter)
    sync.start()
    wait_until(lambda: sweep.client.get_experiment_by_name("small") is not None)

    def train(trial: RunningTrial) -> None:
        reports(0.5)(trial)
        wait_until(lambda: len(traces) == 1)

    sweep.run(train, model=MODEL)
    assert sync.finish(lambda: False)
    assert len(traces) == 1
    assert exporter.is_closed
    [run] = sweep.runs()
    assert run.data.tags["sweeper.model"] == "pt2"


class EndlessExporter(ExporterHere):
    """One that exports until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = threading.Event()

    def export(self, task: ExportTask, program: Path) -> Exported:
        self.closing.wait()
        raise RequestRefusedError("closed")

    def close(self) -> None:
        self.closing.set()


def test_a_model_that_is_exported_for_ever_is_left_to_the_next_command(
    tmp_path: Path, traces: list[nn.Module]
) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.run(reports(0.5), model=MODEL)
    notes: list[str] = []
    sync = BackgroundSync(sweep.study, TAGS, notes.append, EndlessExporter())
    sync.start()
    assert not sync.finish(lambda: True)
    lock = FileLock(sweep.study.paths.mirror_lock)
    wait_until(lock.try_acquire)  # nobody sends any more
    lock.release()
    assert not any("closed" in note for note in notes)
    [run] = sweep.runs()
    assert "sweeper.model" not in run.data.tags
    sync = BackgroundSync(sweep.study, TAGS, notes.append, ExporterHere())
    sync.start()
    assert sync.finish(lambda: False)
    [run] = sweep.runs()
    assert run.data.tags["sweeper.model"] == "pt2"


def test_code_that_a_log_of_another_node_names_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.run(reports(0.5), model=MODEL)
    mark = tmp_path / "mark"
    (tmp_path / "lurking_node.py").write_text(f"open({str(mark)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    log = sweep.paths.events(0)
    log.write_text(
        log.read_text().replace('architecture":"mlp"', 'architecture":"lurking_node:f"')
    )
    sync = BackgroundSync(sweep.study, TAGS, lambda text: None)
    sync.start()
    assert sync.finish(lambda: False)
    assert "the reference lurking_node:f, which names code that is not called" in caplog.text
    assert not mark.exists()


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


@pytest.mark.parametrize(("n_deaths", "has_everything"), [(1, True), (99, False)])
def test_a_thread_that_died_of_anything_begins_anew_and_what_it_lacks_is_known(
    sweep: TrackedSweep,
    monkeypatch: pytest.MonkeyPatch,
    n_deaths: int,
    has_everything: bool,
) -> None:
    deaths = iter(range(n_deaths))

    def die_first(*args: Any, **options: Any) -> Any:
        if next(deaths, None) is not None:
            sys.exit("a plugin of MLflow gave up")
        return build_mirror(*args, **options)

    monkeypatch.setattr(background_sync, "build_mirror", die_first)
    notes: list[str] = []
    sync = BackgroundSync(sweep.study, TAGS, notes.append)
    sync.start()
    assert sync.finish(lambda: False) == has_everything
    if has_everything:
        assert [run.info.status for run in sweep.runs()] == ["FINISHED"]
    [note] = [text for text in notes if not text.startswith("sending the rest")]
    assert "SystemExit: a plugin of MLflow gave up\nWARNING: what sends to MLflow died" in note


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
