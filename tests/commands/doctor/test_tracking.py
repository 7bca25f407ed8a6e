import os
from pathlib import Path

from sweeper.locks import FileLock
from tests.support.examined_study import HEALTHY, assert_found_and_mended, examine, run_id
from tests.support.sweep_studies import PRUNED, reports
from tests.support.tracked_sweeps import TrackedSweep, begin_sweep


def test_a_run_of_a_trial_that_the_storage_does_not_know(sweep: TrackedSweep) -> None:
    known = sweep.runs()[1]
    tags = {name: known.data.tags[name] for name in ("mlflow.parentRunId", "sweeper.kind")}
    sweep.client.create_run(known.info.experiment_id, tags={**tags, "sweeper.trial": "99"})
    assert_found_and_mended(sweep, "trial 99: it has a run of this trial, which the storage does")


def test_a_lost_parent_run_brings_everything_anew(sweep: TrackedSweep) -> None:
    [parent] = sweep.runs("study")
    sweep.client.delete_run(parent.info.run_id)
    for run in sweep.runs():
        sweep.client.delete_run(run.info.run_id)
    assert_found_and_mended(
        sweep,
        "event logs: 11 events of 3 trials yet to be sent to MLflow; --fix sends them",
        "the study's run is missing",
    )
    [parent] = sweep.runs("study")
    assert parent.data.tags["sweeper.git_commit"] == "c0ffee"
    assert "sweeper.seed" not in parent.data.tags


def test_of_two_parent_runs_the_eldest_is_kept(sweep: TrackedSweep) -> None:
    [parent] = sweep.runs("study")
    rival = sweep.client.create_run(
        parent.info.experiment_id, tags={"sweeper.kind": "study"}
    ).info.run_id
    below = {"mlflow.parentRunId": rival, "sweeper.kind": "trial", "sweeper.trial": "0"}
    sweep.client.create_run(parent.info.experiment_id, tags=below)
    assert_found_and_mended(sweep, "MLflow: there are 2 runs of the study; --fix keeps the eldest")
    assert len(sweep.runs()) == 3


def test_a_parent_run_in_the_wrong_state(sweep: TrackedSweep) -> None:
    [parent] = sweep.runs("study")
    sweep.client.update_run(parent.info.run_id, "RUNNING")
    assert_found_and_mended(sweep, "the study's run is RUNNING, but should be FINISHED")


def test_event_logs_that_were_never_sent(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=3)
    for body in (reports(0.5, 0.75), reports(0.5, 0.625, 0.875), PRUNED):
        sweep.run(body)
    assert_found_and_mended(sweep, "event logs: 11 events of 3 trials", "study's run is missing")
    assert sweep.steps(1) == [1, 2, 3]


def test_lost_cursors_double_nothing(sweep: TrackedSweep) -> None:
    for number in range(3):
        sweep.paths.shipped(number).unlink()
    assert_found_and_mended(sweep, "event logs: 11 events of 3 trials")
    assert sweep.steps(1) == [1, 2, 3]


def test_what_a_living_command_has_yet_to_send_is_no_finding(sweep: TrackedSweep) -> None:
    os.truncate(sweep.paths.shipped(1), 0)
    sweep.client.update_run(run_id(sweep, 1), "RUNNING")
    with FileLock(sweep.paths.mirror_lock).held():
        is_well, lines = examine(sweep)
        assert (is_well, len(lines)) == (True, 1)
        assert "healthy as far as can be told while a command works on it: 3 trials" in lines[0]
        sweep.client.update_run(run_id(sweep, 0), "RUNNING")
        is_well, lines = examine(sweep, fix=True)
    assert not is_well
    assert "a command on this machine sends to MLflow right now" in lines[0]
    assert examine(sweep, fix=True)[0]
    assert examine(sweep) == (True, [HEALTHY])
