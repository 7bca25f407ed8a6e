import io
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sweeper.commands.sync import sync_study
from sweeper.errors import EventLogError
from sweeper.study.storage.object_store import ObjectStore
from sweeper.workers.cleanup import Cleanup
from tests.support import tracked_sweeps
from tests.support.mlflow_store import copy_empty_database
from tests.support.sweep_studies import reports
from tests.support.tracked_sweeps import MODEL, TrackedSweep, begin_sweep

pytestmark = pytest.mark.usefixtures("no_pictures")


def begin(folder: Path, object_store: Path, **changes: object) -> TrackedSweep:
    folder.mkdir(exist_ok=True)
    object_store.mkdir(exist_ok=True)
    return begin_sweep(folder, trials=2, run={"object_store": f"file://{object_store}"}, **changes)


def leave(sweep: TrackedSweep, number: int) -> ObjectStore:
    """What a push in the middle of the trial left."""
    object_store = sweep.study.object_store
    assert object_store is not None
    files = {"events.jsonl": io.BytesIO(b""), "checkpoint.pt": io.BytesIO(b"weights")}
    object_store.push(number, 1, files)
    return object_store


def names(object_store: ObjectStore, number: int) -> set[str]:
    manifest = object_store.newest(number)
    return set(manifest.files) if manifest else set()


@pytest.fixture
def sweep(tmp_path: Path) -> TrackedSweep:
    return begin(tmp_path, tmp_path / "object_store")


def test_a_trial_that_runs_keeps_what_it_pushed(sweep: TrackedSweep) -> None:
    number = sweep.leave(reports(0.5))
    object_store = leave(sweep, number)
    Cleanup(sweep.study, pytest.fail).clear()
    assert names(object_store, number) == {"events.jsonl", "checkpoint.pt"}


@pytest.mark.parametrize("was_pushed", [True, False])
def test_an_ended_trial_keeps_log_and_model_until_mlflow_has_them(
    sweep: TrackedSweep, was_pushed: bool
) -> None:
    sweep.run(reports(0.5), model=MODEL)
    object_store = leave(sweep, 0) if was_pushed else sweep.study.object_store
    assert object_store is not None
    cleanup = Cleanup(sweep.study, pytest.fail)
    cleanup.clear()
    assert names(object_store, 0) == {"events.jsonl", "model.pt"}
    sweep.send()
    cleanup.clear()
    assert object_store.numbers() == set()


def test_what_its_code_logged_is_left_with_an_ended_trial(sweep: TrackedSweep) -> None:
    file = sweep.paths.logged_files(0) / "plots" / "roc.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"curve")
    sweep.paths.exported_model(0).write_bytes(b"program")
    sweep.run(reports(0.5))
    Cleanup(sweep.study, pytest.fail).clear()
    object_store = sweep.study.object_store
    assert object_store is not None
    assert names(object_store, 0) == {"events.jsonl", "model.pt2", "artifacts/plots/roc.png"}


def test_what_was_fitted_to_its_data_is_left_with_an_ended_trial(
    sweep: TrackedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = replace(tracked_sweeps.DATA, preprocessing="fedcba9876543210")
    monkeypatch.setattr(tracked_sweeps, "DATA", data)
    path = sweep.paths.preprocessing(data.preprocessing)
    path.parent.mkdir()
    path.write_bytes(b"kept")
    sweep.run(reports(0.5), model=MODEL)
    Cleanup(sweep.study, pytest.fail).clear()
    object_store = sweep.study.object_store
    assert object_store is not None
    assert names(object_store, 0) == {"events.jsonl", "model.pt", "fedcba9876543210.pt"}


def test_a_trial_that_ended_elsewhere_is_left_to_that_node(tmp_path: Path) -> None:
    """By an agent that has nothing of it but the storage."""
    storage = f"sqlite:///{tmp_path}/study.db"
    there = begin(tmp_path / "there", tmp_path / "object_store", storage=storage)
    here = begin(tmp_path / "here", tmp_path / "object_store", storage=storage)
    there.run(reports(0.5))
    object_store = leave(there, 0)
    Cleanup(here.study, pytest.fail).clear()
    assert names(object_store, 0) == {"events.jsonl", "checkpoint.pt"}
    Cleanup(there.study, pytest.fail).clear()
    assert names(object_store, 0) == {"events.jsonl"}


def test_a_trial_whose_files_are_damaged_keeps_no_other_from_being_cleared(
    sweep: TrackedSweep,
) -> None:
    sweep.run(reports(0.5))
    sweep.run(reports(0.6))
    sweep.send()
    for number in (0, 1):
        object_store = leave(sweep, number)
    sweep.study.paths.shipped(0).unlink()
    sweep.study.paths.events(0).write_bytes(b"{}\n")
    with pytest.raises(EventLogError, match="an event cannot be read"):
        Cleanup(sweep.study, pytest.fail).clear()
    assert object_store.numbers() == {0}


def test_sync_sends_what_a_node_that_is_gone_left_in_the_object_store(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    there = begin(tmp_path / "there", tmp_path / "object_store", storage=storage)
    here = begin(tmp_path / "here", tmp_path / "object_store", storage=storage)
    there.run(reports(0.5, 0.75), model=MODEL)
    object_store = leave(there, 0)
    Cleanup(there.study, pytest.fail).clear()
    line = sync_study(here.file, root=here.root, note=pytest.fail)
    assert line.startswith("small: sent 4 events of 1 trial and 1 model")
    assert here.steps(0) == [1, 2]
    Cleanup(here.study, pytest.fail).clear()
    assert object_store.numbers() == set()


def test_the_model_of_the_best_stays_until_the_goal_is_reached_and_is_logged_elsewhere(
    tmp_path: Path,
) -> None:
    """By the node that is left; the one that trained it has gone."""
    shared = {
        "storage": f"sqlite:///{tmp_path}/study.db",
        "tracking": {"log_models": "best", "uri": f"sqlite:///{tmp_path}/mlflow.db"},
    }
    copy_empty_database(tmp_path / "mlflow.db")
    there = begin(tmp_path / "there", tmp_path / "object_store", **shared)
    here = begin(tmp_path / "here", tmp_path / "object_store", **shared)
    there.run(reports(0.75), model=MODEL)
    there.send()
    Cleanup(there.study, pytest.fail).clear()
    object_store = there.study.object_store
    assert object_store is not None
    assert names(object_store, 0) == {"events.jsonl", "model.pt"}
    here.run(reports(0.5), model=MODEL)
    here.send()
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    [model] = client.search_logged_models(["1"])
    assert client.get_run(str(model.source_run_id)).data.tags["sweeper.trial"] == "0"
    cleanup = Cleanup(here.study, pytest.fail)
    cleanup.start()
    cleanup.finish(has_everything=True)
    assert object_store.numbers() == set()


def test_the_end_of_a_command_leaves_nothing_in_the_object_store(sweep: TrackedSweep) -> None:
    sweep.run(reports(0.5))
    object_store = leave(sweep, 0)
    sweep.send()
    cleanup = Cleanup(sweep.study, pytest.fail)
    cleanup.start()
    cleanup.finish(has_everything=True)
    assert object_store.numbers() == set()


def test_trouble_is_said_once(sweep: TrackedSweep, tmp_path: Path) -> None:
    notes: list[str] = []
    (tmp_path / "object_store").rmdir()
    cleanup = Cleanup(sweep.study, notes.append)
    cleanup.start()
    cleanup.finish(has_everything=True)
    [said] = notes
    assert "the object store cannot be used: FileNotFoundError: " in said
    assert said.endswith("What ended trials left in the object store stays for now")


def test_without_an_object_store_nothing_is_done(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    cleanup = Cleanup(sweep.study, pytest.fail)
    cleanup.start()
    cleanup.finish(has_everything=True)
    assert sweep.study.object_store is None
