"""What MLflow has of a finished study is remembered, until there is something to send."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.study.create import load_study_from_storage
from sweeper.study.study import SweepStudy
from sweeper.tracking.background_sync import BackgroundSync
from sweeper.tracking.completion import find_completion
from tests.support.mlflow_store import copy_empty_database
from tests.support.sweep_studies import reports
from tests.support.tracked_sweeps import MODEL, TAGS, TrackedSweep, begin_sweep

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def sweep(tmp_path: Path) -> TrackedSweep:
    sweep = begin_sweep(tmp_path, trials=2)
    sweep.run(reports(0.25), model=MODEL)
    sweep.run(reports(0.5), model=MODEL)
    return sweep


def send(study: SweepStudy) -> None:
    sync = BackgroundSync(study, TAGS, lambda text: None)
    sync.start()
    assert sync.finish(lambda: False)


def test_the_second_time_mlflow_is_not_asked(sweep: TrackedSweep) -> None:
    assert find_completion(sweep.study) is None
    send(sweep.study)
    [before] = sweep.runs("study")
    send(sweep.study)
    [after] = sweep.runs("study")
    assert after.info.end_time == before.info.end_time  # else it would be RUNNING, and end again


def test_it_holds_where_the_best_models_lie(sweep: TrackedSweep) -> None:
    send(sweep.study)
    completion = find_completion(sweep.study)
    assert completion is not None
    assert completion.uri == f"sqlite:///{sweep.paths.mlflow_db}"
    [uri] = completion.models.values()
    assert completion.models.keys() == {1}
    model = sweep.client.get_logged_model(uri.removeprefix("models:/"))
    assert model.source_run_id == sweep.runs()[1].info.run_id


def test_it_is_found_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "feature%2Flr, what? #1 ü"
    folder.mkdir()
    sweep = begin_sweep(folder, trials=1)
    sweep.run(reports(0.25), model=MODEL)
    send(sweep.study)
    assert find_completion(sweep.study) is not None


def test_a_study_that_is_not_finished_has_none(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=2)
    sweep.run(reports(0.25))
    send(sweep.study)
    assert not sweep.paths.mirrored.exists()


def test_a_store_that_has_lost_the_study_has_nothing_of_it(sweep: TrackedSweep) -> None:
    send(sweep.study)
    sweep.paths.mlflow_db.unlink()
    assert find_completion(sweep.study) is None
    copy_empty_database(sweep.paths.mlflow_db)  # by another study
    assert find_completion(sweep.study) is None


def test_whatever_there_is_to_send_makes_it_void(
    sweep: TrackedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = sweep.study
    send(study)
    kept = sweep.paths.mirrored.read_bytes()

    def changed(**tracking: Any) -> SweepStudy:
        spec = replace(study.spec, tracking=replace(study.spec.tracking, **tracking))
        other = load_study_from_storage(spec, study.paths)
        assert other is not None
        return other

    assert find_completion(changed()) is not None
    assert find_completion(changed(log_models="none")) is None
    assert find_completion(changed(uri="http://another")) is None
    with monkeypatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", "http://another")
        assert find_completion(study) is None
    with sweep.paths.events(0).open("ab") as log:
        log.write(b"\n")
    assert find_completion(study) is None
    log_size = sweep.paths.events(0).stat().st_size
    with sweep.paths.events(0).open("ab") as log:
        log.truncate(log_size - 1)
    assert find_completion(study) is not None
    for damaged in (b"", b"[]", b"{}", kept[:-9], kept.replace(b'"1"', b'"x"')):
        sweep.paths.mirrored.write_bytes(damaged)
        assert find_completion(study) is None
