from pathlib import Path

from sweeper.config.reader import load_study
from sweeper.study.create import create_study
from sweeper.study.presence import Presence
from tests.support.examined_study import examine
from tests.support.sweep_studies import claim_trial, reports
from tests.support.tracked_sweeps import TrackedSweep, begin_sweep


def test_a_trial_without_a_worker_goes_back_to_waiting(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=2)
    sweep.run(reports(0.5))
    sweep.send()
    assert sweep.leave(reports(0.5, 0.75)) == 1
    is_well, lines = examine(sweep)
    assert not is_well
    assert lines[0] == (
        "trial 1: RUNNING in the storage, but its worker is gone; "
        "--fix puts it back to waiting, or ends it as its event log says"
    )
    is_well, lines = examine(sweep, fix=True)
    assert is_well
    assert lines[:2] == [
        "mended: trial 1: RUNNING in the storage, but its worker is gone",
        "mended: event logs: 4 events of 1 trial yet to be sent to MLflow",
    ]
    assert [trial.state.name for trial in sweep.study.trials()] == ["COMPLETE", "WAITING"]
    assert [run.info.status for run in sweep.runs()] == ["FINISHED", "SCHEDULED"]
    assert [run.info.status for run in sweep.runs("study")] == ["SCHEDULED"]
    assert examine(sweep) == (
        True,
        ["small: healthy: 2 trials, 3 epochs and 2 MLflow runs agree"],
    )


def test_a_study_of_more_trials_than_settings_is_over_and_healthy(tmp_path: Path) -> None:
    train = {"epochs": 3, "optimizer": {"choices": ["sgd", "adamw"]}}
    older = begin_sweep(tmp_path, trials=50, train=train, sampler={"duplicates": "reseed"})
    for _ in range(3):
        older.run(reports(0.5))
    older.send()
    older.file.write_text(older.file.read_text().replace("reseed", "never"))
    study = create_study(load_study(older.file), older.paths)
    study.queue.top_up()
    assert (study.goal, study.n_finished()) == (2, 3)
    assert claim_trial(study) is None
    TrackedSweep(older.file, study).send()
    is_well, lines = examine(older)
    assert is_well, lines
    assert lines == ["small: healthy: 32 trials, 3 epochs and 3 MLflow runs agree"]


def test_what_runs_in_a_living_worker_is_no_finding(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=2)
    presence = Presence(sweep.paths.presence_dir, "gone")
    sweep.send()
    sweep.leave(reports(0.5, 0.75))
    assert examine(sweep)[0]
    presence.leave()
    assert not examine(sweep)[0]
