"""What was left behind reaches MLflow without anything being run, from any machine."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sweeper.commands.sync import sync_study
from sweeper.errors import SpecError, StoreError, StudyError, SweeperError, TrackerError
from sweeper.locks import FileLock
from sweeper.study.find import find_study
from tests.support.mlflow_store import copy_empty_database
from tests.support.sweep_studies import PRUNED, reports
from tests.support.tracked_sweeps import MODEL, TrackedSweep, begin_sweep


@pytest.fixture
def sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> TrackedSweep:
    """Two of three trials are done; nothing was sent. By its parameter one has a model."""
    folder = tmp_path / "origin"
    folder.mkdir()
    monkeypatch.chdir(folder)
    sweep = begin_sweep(folder, trials=3)
    sweep.run(reports(0.5, 0.75), model=getattr(request, "param", None))
    sweep.run(PRUNED)
    return sweep


with_model = pytest.mark.parametrize("sweep", [MODEL], indirect=True, ids=["with a model"])


def sync(path: Path, root: Path) -> tuple[str, list[str]]:
    """Its line, and what it said but for how far it was, which it tells on a busy machine."""
    notes: list[str] = []
    line = sync_study(path, root=root, note=notes.append)
    return line, [note for note in notes if not note.startswith("small: sending: ")]


def carry(sweep: TrackedSweep, target: Path) -> Path:
    """The study's folder alone, as on another machine; the original is gone."""
    folder = target / "mlruns" / "studies" / "small"
    shutil.copytree(sweep.paths.study_dir, folder)
    shutil.rmtree(sweep.file.parent)
    target.joinpath("elsewhere").mkdir()
    return folder


def test_a_folder_that_cannot_be_written_is_a_known_failure(sweep: TrackedSweep) -> None:
    sweep.paths.mirror_lock.unlink(missing_ok=True)
    sweep.paths.mirror_lock.mkdir()  # as a disk that is read-only, which root could write to
    with pytest.raises(StoreError, match="the study's folder or storage cannot be used: IsADir"):
        sync(sweep.file, sweep.root)


@with_model
def test_everything_is_sent_and_the_line_says_how_much(sweep: TrackedSweep) -> None:
    line, notes = sync(sweep.file, sweep.root)
    uri = f"sqlite:///{sweep.paths.mlflow_db}"
    assert line == f"small: sent 6 events of 2 trials and 1 model; {uri} has everything"
    assert notes == []
    assert [run.info.status for run in sweep.runs()] == ["FINISHED", "FINISHED"]
    [parent] = sweep.runs("study")
    assert parent.info.status == "SCHEDULED"
    assert parent.data.tags["sweeper.version.torch"] == "2.6.0"
    again = f"small: nothing was left behind; {uri} has everything"
    assert sync(sweep.file, sweep.root) == (again, [])
    assert sync(sweep.paths.study_dir, Path("nowhere")) == (again, [])


def test_a_study_at_its_goal_is_finished(sweep: TrackedSweep) -> None:
    sweep.run(reports(0.875))
    sync(sweep.file, sweep.root)
    [parent] = sweep.runs("study")
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best_val_accuracy"] == 0.875


@with_model
def test_a_carried_folder_is_sent_to_the_store_of_the_other_machine(
    sweep: TrackedSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = carry(sweep, tmp_path)
    monkeypatch.chdir(tmp_path / "elsewhere")
    database = tmp_path / "server.db"
    copy_empty_database(database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    line, _ = sync(folder, Path("mlruns"))
    assert line.startswith("small: sent 6 events of 2 trials and 1 model")
    client = MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 3


@with_model
def test_no_code_that_a_carried_folder_names_is_imported_wherever_it_lies(
    sweep: TrackedSweep,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for path in (sweep.paths.events(0), sweep.paths.resolved_spec):
        text = path.read_text()
        for quoted in ('architecture":"mlp"', "architecture: mlp"):
            text = text.replace(quoted, quoted.replace("mlp", "lurking:build"))
        assert "lurking:build" in text
        path.write_text(text)
    mark = tmp_path / "mark"
    code = f"open({str(mark)!r}, 'w')\ndef build(*args): pass\n"
    (sweep.paths.study_dir / "lurking.py").write_text(code)
    folder = carry(sweep, tmp_path)
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("lurking.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    copy_empty_database(tmp_path / "mlruns" / "mlflow.db")
    line, _ = sync(folder, Path("mlruns"))
    assert line.startswith("small: sent 6 events of 2 trials and 1 model")
    assert "the reference lurking:build, which names code that is not called" in caplog.text
    assert not mark.exists()


@pytest.fixture
def server() -> Iterator[tuple[str, list[object]]]:
    """An address, and who came there; it hangs up on everybody."""
    callers: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    caller, who = listening.accept()
                    callers.append(who)
                    caller.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", callers
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("storage: auto", "storage: grpc://{}", "storage: grpc://"),
        ("storage: auto", "storage: postgresql+psycopg://ann@{}/db", "storage: postgresql"),
        ("run:\n", "run:\n  object_store: http://{}/a\n", "run.object_store: http://"),
        ("  uri: auto", "  uri: http://{}", "tracking.uri: http://"),
    ],
)
def test_no_server_that_a_carried_folder_names_is_asked(
    sweep: TrackedSweep,
    server: tuple[str, list[object]],
    before: str,
    after: str,
    place: str,
) -> None:
    address, callers = server
    resolved = sweep.paths.resolved_spec
    text = resolved.read_text()
    assert before in text
    resolved.write_text(text.replace(before, after.format(address)))
    try:
        _, [told] = sync(sweep.paths.study_dir, Path("nowhere"))
    except SweeperError as exc:
        told = str(exc)
    assert callers == []
    assert place in told
    assert "no server that it names is asked" in told
    assert "study file instead" in told


def test_a_server_that_a_carried_folder_names_is_asked_if_the_environment_names_it_too(
    sweep: TrackedSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path}/server.db"
    copy_empty_database(tmp_path / "server.db")
    resolved = sweep.paths.resolved_spec
    resolved.write_text(resolved.read_text().replace("  uri: auto", f"  uri: {uri}"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/another.db")
    with pytest.raises(SpecError, match="set MLFLOW_TRACKING_URI to the whole address if it is"):
        sync(sweep.paths.study_dir, Path("nowhere"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    line, _ = sync(sweep.paths.study_dir, Path("nowhere"))
    assert line.endswith(f"; {uri} has everything")


def test_where_the_storage_is_out_of_reach_the_parent_run_stays_as_it_is(
    sweep: TrackedSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "server.db"
    copy_empty_database(database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    client = MlflowClient(f"sqlite:///{database}")
    sync(sweep.file, sweep.root)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    [before] = client.search_runs([experiment.experiment_id], "tags.`sweeper.kind` = 'study'")
    sweep.run(reports(0.875))
    folder = carry(sweep, tmp_path)
    resolved = folder / "study.yaml"
    storage = "storage: postgresql://***@127.0.0.1:1/studies"
    resolved.write_text(resolved.read_text().replace("storage: auto", storage))
    monkeypatch.chdir(tmp_path / "elsewhere")
    line, [note] = sync(folder, Path("mlruns"))
    assert line.startswith("small: sent 3 events of 1 trial")
    assert "storage: postgresql://***@127.0.0.1:1/studies: as a folder may come" in note
    assert note.endswith("its own run stays as it is")
    after = client.get_run(before.info.run_id)
    assert (after.info.status, after.data.tags) == (before.info.status, before.data.tags)


def test_another_command_that_sends_is_left_to_it(sweep: TrackedSweep) -> None:
    with FileLock(sweep.paths.mirror_lock).held():
        line, _ = sync(sweep.file, sweep.root)
    assert line == "small: another command on this machine sends its events right now"
    assert sync(sweep.file, sweep.root)[0].startswith("small: sent 6 events")


def test_a_server_that_does_not_answer_is_an_error_and_loses_nothing(
    sweep: TrackedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{address}")
        with pytest.raises(TrackerError, match=f"^tracking.uri: http://{address}: MLflow cannot"):
            sync(sweep.file, sweep.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync(sweep.file, sweep.root)[0].startswith("small: sent 6 events")


def test_a_refused_trial_is_an_error_after_all_the_rest_was_sent(sweep: TrackedSweep) -> None:
    sweep.paths.events(0).write_text("not json\n")
    with pytest.raises(TrackerError, match="trials/0000/events.jsonl: an event cannot be read"):
        sync(sweep.file, sweep.root)
    assert [run.info.status for run in sweep.runs()] == ["FINISHED"]
    assert [run.info.status for run in sweep.runs("study")] == ["SCHEDULED"]


def test_an_address_that_lost_its_password_is_asked_for(sweep: TrackedSweep) -> None:
    resolved = sweep.paths.resolved_spec
    resolved.write_text(resolved.read_text().replace("uri: auto", "uri: https://***@host"))
    with pytest.raises(TrackerError, match="keeps no passwords; set MLFLOW_TRACKING_URI to the"):
        sync(resolved, sweep.root)


def test_only_the_folder_of_a_study_at_its_place_is_taken(
    sweep: TrackedSweep, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="a folder, but not that of a study: it has no study.yaml"):
        sync(sweep.paths.trials_dir, sweep.root)
    for place in (tmp_path / "small", tmp_path / "studies" / "large"):
        shutil.copytree(sweep.paths.study_dir, place)
        with pytest.raises(SpecError, match="study 'small'; it must lie in mlruns/studies/small"):
            sync(place, sweep.root)


def test_a_study_that_has_not_begun_has_nothing_to_send(sweep: TrackedSweep) -> None:
    with pytest.raises(StudyError, match="'small' has not begun: sweeper run .*small.yaml"):
        sync(sweep.file, sweep.root / "elsewhere")


def test_of_a_study_on_its_fallback_data_that_one_is_meant(sweep: TrackedSweep) -> None:
    text = sweep.file.read_text().replace("name: digits", "name: mnist\n  fallback: digits")
    other = sweep.file.with_name("large.yaml")
    other.write_text(text)
    stand_in = sweep.paths.study_dir.with_name("large-on-digits")
    shutil.copytree(sweep.paths.study_dir, stand_in)
    resolved = stand_in / "study.yaml"
    resolved.write_text(resolved.read_text().replace("name: small", "name: large-on-digits"))
    line, notes = sync(other, sweep.root)
    assert line.startswith("large-on-digits: sent 6 events")
    assert notes[0].startswith("the storage has no study")  # the journal names the other one
    file_line = text.splitlines().index("  name: mnist") + 1
    place = find_study(other, sweep.root).spec.place("data.name")
    assert place == f"{other}:{file_line}: data.name"
