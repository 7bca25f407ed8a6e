"""What a trial's code logged, in its run: each content once, whatever happens meanwhile."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from sweeper.errors import TrackerError
from sweeper.events import FileLogged, TagsSet
from sweeper.tracking.mirrored_study import MirroredStudy
from sweeper.trial import TrialState
from tests.support.tracked_study import START_S, Store, ended, epoch, started


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """Names of the files that MLflow was given, and their folders."""
    seen: list[tuple[str, str | None]] = []
    log_artifact = MlflowClient.log_artifact

    def note(client: Any, run_id: str, path: str, folder: str | None = None) -> None:
        log_artifact(client, run_id, path, folder)
        if Path(path).name != "study.yaml":
            seen.append((Path(path).name, folder))

    monkeypatch.setattr(MlflowClient, "log_artifact", note)
    return seen


def log_file(store: Store, path: str, content: str, number: int = 0) -> None:
    file = store.paths.logged_files(number) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    store.append(number, FileLogged(START_S, path, "0" * 64))


def read_file(store: Store, path: str) -> str:
    return Path(store.client.download_artifacts(store.trial().info.run_id, path)).read_text()


def test_each_content_of_a_file_is_sent_once(
    store: Store, uploads: list[tuple[str, str | None]]
) -> None:
    store.append(0, started(), epoch(1, 0.5))
    log_file(store, "notes.txt", "one")
    log_file(store, "plots/deep/roc.svg", "curve")
    mirror = store.mirror()
    mirror.send()
    assert uploads == [("notes.txt", None), ("roc.svg", "plots/deep")]
    log_file(store, "notes.txt", "two")
    mirror.send()
    store.append(0, started(resumed=1), epoch(2, 0.5))
    store.mirror().send()
    store.append(0, ended(TrialState.COMPLETE, epoch(2, 0.5)))
    store.mirror().send()
    assert uploads[2:] == [("notes.txt", None)]
    assert (read_file(store, "notes.txt"), read_file(store, "plots/deep/roc.svg")) == (
        "two",
        "curve",
    )
    assert store.trial().info.status == "FINISHED"


def test_a_run_that_has_to_be_made_anew_has_its_files_too(
    store: Store, uploads: list[tuple[str, str | None]]
) -> None:
    store.append(0, started(), epoch(1, 0.5))
    log_file(store, "notes.txt", "one")
    store.mirror().send()
    store.client.delete_run(store.trial().info.run_id)
    store.append(0, started(resumed=1))
    store.mirror().send()
    assert uploads == [("notes.txt", None)] * 2
    assert read_file(store, "notes.txt") == "one"


def test_a_file_that_is_logged_while_its_trial_is_taken_up_is_sent(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial ends between two reads of its log, and one that has ended is not read again."""
    store.append(0, started(), epoch(1, 0.5))
    store.mirror().send()
    store.append(0, epoch(2, 0.25))
    read_log, n_reads = MirroredStudy.read_log, 0

    def grow_after_the_first(study: MirroredStudy, number: int, offset: int = 0) -> Any:
        nonlocal n_reads
        found, n_reads = read_log(study, number, offset), n_reads + 1
        if n_reads == 1:
            log_file(store, "notes.txt", "one")
            store.append(0, ended(TrialState.COMPLETE, epoch(1, 0.5)))
        return found

    monkeypatch.setattr(MirroredStudy, "read_log", grow_after_the_first)
    mirror = store.mirror()
    mirror.send()
    mirror.send()
    assert store.trial().info.status == "FINISHED"
    assert read_file(store, "notes.txt") == "one"


def test_a_file_that_is_gone_is_said_and_keeps_nothing_back(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.append(0, started(), epoch(1, 0.5))
    log_file(store, "notes.txt", "one")
    (store.paths.logged_files(0) / "notes.txt").unlink()
    store.append(0, ended(TrialState.COMPLETE, epoch(1, 0.5)))
    store.mirror().send()
    assert "notes.txt: absent; MLflow gets no such file" in caplog.text
    assert store.trial().info.status == "FINISHED"


def test_an_artifact_store_that_is_away_gets_the_file_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(0, started(), epoch(1, 0.5))
    log_file(store, "notes.txt", "one")

    def fail(*_: Any) -> None:
        raise ConnectionError("no route")

    mirror = store.mirror()
    mirror.open()
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", fail)
        with pytest.raises(TrackerError, match="artifact store fails: ConnectionError: no route"):
            mirror.send()
    assert [step for step, *_ in store.curve(store.trial(), "val_accuracy")] == [1]
    mirror.send()
    assert read_file(store, "notes.txt") == "one"
    assert [step for step, *_ in store.curve(store.trial(), "val_accuracy")] == [1]


def test_tags_of_a_trials_code_are_those_of_its_run_without_secrets(store: Store) -> None:
    store.append(0, started(), TagsSet(START_S, {"note": "x", "db": "postgresql://ann:pw@db/x"}))
    mirror = store.mirror()
    mirror.send()
    store.append(0, TagsSet(START_S, {"note": "y"}))
    mirror.send()
    tags = store.trial().data.tags
    assert (tags["note"], tags["db"]) == ("y", "postgresql://***@db/x")
