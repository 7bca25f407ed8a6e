"""Each fault is made for real, found, mended, and then the study is in order."""

import os
import re
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sweeper.commands.doctor.examine import examine_study
from sweeper.commands.doctor.snapshot import are_others_at_work
from sweeper.config.settings import DataConfig
from sweeper.data.cache import open_cache
from sweeper.errors import StudyError
from sweeper.events import EventWriter
from sweeper.locks import FileLock
from sweeper.study.leases import Leases
from sweeper.study.presence import Presence
from sweeper.training.checkpoint import save_checkpoint
from tests.support.sweep_studies import PRUNED, reports
from tests.support.tracked_sweeps import MODEL, TrackedSweep, begin_sweep

HEALTHY = "small: healthy: 3 trials, 5 epochs and 3 MLflow runs agree"


@pytest.fixture
def sweep(tmp_path: Path) -> TrackedSweep:
    """Two complete trials and a pruned one, all of them sent; the goal is reached."""
    sweep = begin_sweep(tmp_path, trials=3)
    sweep.run(reports(0.5, 0.75))
    sweep.run(reports(0.5, 0.625, 0.875))
    sweep.run(PRUNED)
    sweep.send()
    return sweep


def examine(sweep: TrackedSweep, *, fix: bool = False) -> tuple[bool, list[str]]:
    lines: list[str] = []
    is_well = examine_study(
        sweep.file, root=sweep.root, fix=fix, show=lines.append, note=lambda text: None
    )
    return is_well, lines


def assert_found_and_mended(sweep: TrackedSweep, *findings: str, healthy: str = HEALTHY) -> None:
    """The findings, each as a regular expression, are all that is found; then nothing is."""
    is_well, lines = examine(sweep)
    assert not is_well
    for line, finding in zip(lines[:-1], findings, strict=True):
        assert re.search(finding, line), line
    n_found = f"{len(findings)} finding{'s' * (len(findings) > 1)}"
    assert lines[-1] == f"small: {n_found}; --fix mends {len(findings)}"
    is_well, lines = examine(sweep, fix=True)
    assert is_well, lines
    assert all(line.startswith("mended: ") for line in lines[:-1])
    assert examine(sweep) == (True, [healthy])


def execute(sweep: TrackedSweep, statement: str, *values: object) -> None:
    """Change MLflow's database as its client cannot."""
    with closing(sqlite3.connect(sweep.paths.mlflow_db)) as database, database:
        assert database.execute(statement, values).rowcount > 0


def run_id(sweep: TrackedSweep, number: int) -> str:
    return str(sweep.runs()[number].info.run_id)


def test_a_study_in_order_takes_one_line(sweep: TrackedSweep) -> None:
    assert examine(sweep) == (True, [HEALTHY])
    assert examine(sweep, fix=True) == (True, [HEALTHY])


def test_a_study_that_has_not_begun_is_told_so(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.paths.resolved_spec.unlink()
    with pytest.raises(StudyError, match="'small' has not begun: sweeper run .*small.yaml"):
        examine(sweep)


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


def test_what_runs_in_a_living_worker_is_no_finding(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=2)
    presence = Presence(sweep.paths.presence_dir, "gone")
    sweep.send()
    sweep.leave(reports(0.5, 0.75))
    assert examine(sweep)[0]
    presence.leave()
    assert not examine(sweep)[0]


def test_a_run_in_another_state_than_its_trial(sweep: TrackedSweep) -> None:
    sweep.client.update_run(run_id(sweep, 0), "RUNNING")
    sweep.client.set_tag(run_id(sweep, 2), "sweeper.state", "complete")
    assert_found_and_mended(
        sweep,
        r"MLflow run of trial 0: it is RUNNING \(complete\), but the trial is complete in the "
        "storage; --fix sets it to FINISHED",
        r"MLflow run of trial 2: it is KILLED \(complete\), but the trial is pruned",
    )
    assert [run.info.status for run in sweep.runs()] == ["FINISHED", "FINISHED", "KILLED"]
    assert sweep.runs()[2].data.tags["sweeper.state"] == "pruned"


def test_missing_points_are_sent(sweep: TrackedSweep) -> None:
    execute(sweep, "DELETE FROM metrics WHERE key = 'val_accuracy' AND step > 1")
    assert_found_and_mended(
        sweep,
        "MLflow run of trial 0: 1 point missing; --fix sends what is miss",
        "MLflow run of trial 1: 2 points missing",
    )
    assert sweep.steps(1) == [1, 2, 3]


def test_a_doubled_point_is_undone(sweep: TrackedSweep) -> None:
    sweep.client.log_metric(run_id(sweep, 1), "val_accuracy", 0.6, 1_800_000_000_000, step=2)
    assert_found_and_mended(sweep, "trial 1: 1 point more than once; --fix makes the run anew")
    assert sweep.steps(1) == [1, 2, 3]


def test_params_that_are_missing_or_wrong(sweep: TrackedSweep) -> None:
    name = "train.learning_rate"
    execute(sweep, "DELETE FROM params WHERE run_uuid = ? AND key = ?", run_id(sweep, 0), name)
    execute(sweep, "UPDATE params SET value = '1' WHERE run_uuid = ?", run_id(sweep, 1))
    expected = sweep.study.trials()[0].params[name]
    assert_found_and_mended(
        sweep,
        "trial 0: 1 param missing; --fix sends",
        f"trial 1: params differ from the event log's: .*{name}.*; --fix makes the run anew",
    )
    assert float(sweep.runs()[0].data.params[name]) == expected


def test_another_best_than_that_of_the_event_log(sweep: TrackedSweep) -> None:
    sweep.client.log_metric(run_id(sweep, 0), "best_val_accuracy", 0.99, 1_800_000_000_000, 2)
    assert_found_and_mended(
        sweep, "trial 0: the best that it shows is not .*; --fix makes the run"
    )
    assert sweep.runs()[0].data.metrics["best_val_accuracy"] == 0.75


def test_a_missing_run_is_sent_again(sweep: TrackedSweep) -> None:
    sweep.client.delete_run(run_id(sweep, 1))
    assert_found_and_mended(sweep, "trial 1: MLflow has no run of it; --fix sends it")


def test_a_run_whose_events_are_elsewhere_is_only_told(sweep: TrackedSweep) -> None:
    sweep.client.delete_run(run_id(sweep, 1))
    sweep.paths.events(1).unlink()
    is_well, lines = examine(sweep, fix=True)
    assert not is_well
    assert lines == [
        "trial 1: MLflow has no run of it; "
        "run `sweeper sync` on the machine that has its event log",
        "small: 1 finding, 0 mended",
    ]


def test_what_another_machine_went_on_with_is_not_held_against_the_log_here(
    sweep: TrackedSweep,
) -> None:
    sweep.client.set_tag(run_id(sweep, 1), "sweeper.resumed", "1")
    execute(sweep, "DELETE FROM metrics WHERE step = 3")
    healthy = "small: healthy: 3 trials, 2 epochs and 3 MLflow runs agree"
    assert examine(sweep) == (True, [healthy])


def test_of_two_runs_of_a_trial_one_is_kept(sweep: TrackedSweep) -> None:
    kept = sweep.runs()[1]
    tags = {name: kept.data.tags[name] for name in ("mlflow.parentRunId", "sweeper.kind")}
    sweep.client.create_run(
        kept.info.experiment_id, start_time=1_000, tags={**tags, "sweeper.trial": "1"}
    )
    assert_found_and_mended(sweep, "trial 1: MLflow has 2 runs of it; --fix keeps one")
    assert sweep.runs()[1].info.run_id == kept.info.run_id


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


def test_a_missing_model_is_logged(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.run(reports(0.5), model=MODEL)
    weights = sweep.paths.model(0).read_bytes()
    sweep.paths.model(0).unlink()
    sweep.send()
    sweep.paths.model(0).write_bytes(weights)
    assert_found_and_mended(
        sweep,
        "trial 0: its model is missing; --fix sends",
        healthy="small: healthy: 1 trial, 1 epoch and 1 MLflow run agree",
    )
    [run] = sweep.runs()
    [model] = sweep.client.search_logged_models([run.info.experiment_id])
    assert model.status == "READY"


def test_a_rebuilt_run_leaves_one_model(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.run(reports(0.5), model=MODEL)
    sweep.send()
    sweep.client.log_metric(run_id(sweep, 0), "val_accuracy", 0.6, 1_800_000_000_000, step=1)
    assert examine(sweep, fix=True)[0]
    [run] = sweep.runs()
    [model] = sweep.client.search_logged_models([run.info.experiment_id])
    assert model.source_run_id == run.info.run_id


def test_checkpoints_of_trials_that_ended(sweep: TrackedSweep) -> None:
    save_checkpoint(sweep.paths.checkpoint(0), {"epoch": 1})
    for name in ("checkpoint.pt.tmp", "checkpoint.pt.broken"):
        (sweep.paths.trial_dir(2) / name).write_bytes(b"123")
    sweep.paths.trial_dir(99).mkdir()
    save_checkpoint(sweep.paths.checkpoint(99), {"epoch": 1})
    assert_found_and_mended(
        sweep,
        r"trials/0000/checkpoint.pt: left behind, [\d,]+ bytes: it is complete; --fix removes it",
        r"trials/0002/checkpoint.pt.broken: left behind, 3 bytes: it is pruned",
        r"trials/0002/checkpoint.pt.tmp",
        r"trials/0099/checkpoint.pt: .* the storage does not know this trial",
    )


def test_of_a_waiting_trial_only_a_broken_checkpoint_is_removed(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=2)
    sweep.send()
    whole, broken = sweep.paths.checkpoint(0), sweep.paths.checkpoint(1)
    for path in (whole, broken):
        save_checkpoint(path, {"name": "x" * 1000})
    content = broken.read_bytes()
    broken.write_bytes(content.replace(b"xxxx", b"xxyx", 1))
    assert_found_and_mended(
        sweep,
        "trials/0001/checkpoint.pt: its checksum is wrong; --fix removes it, and the trial starts",
        healthy="small: healthy: 2 trials, 0 epochs and 0 MLflow runs agree",
    )
    assert whole.exists()


def test_a_journal_with_a_torn_tail(sweep: TrackedSweep) -> None:
    before = sweep.paths.journal.read_bytes()
    sweep.paths.journal.write_bytes(before + b'{"op_code": 6, "wor')
    assert_found_and_mended(sweep, "journal.log: its last line was not written to its end; --fix")
    assert sweep.paths.journal.read_bytes() == before


def test_an_event_log_with_a_torn_tail_of_a_trial_that_ended(sweep: TrackedSweep) -> None:
    with sweep.paths.events(0).open("ab") as log:
        log.write(b'{"event":"Epo')
    assert_found_and_mended(sweep, "trials/0000/events.jsonl: its last line was not written")


def test_a_torn_tail_of_a_trial_that_waits_is_its_next_writers(tmp_path: Path) -> None:
    sweep = begin_sweep(tmp_path, trials=1)
    sweep.send()
    sweep.paths.trial_dir(0).mkdir(parents=True)
    sweep.paths.events(0).write_bytes(b'{"event":"Sta')
    assert examine(sweep)[0]
    with EventWriter(sweep.paths.events(0)):
        assert sweep.paths.events(0).read_bytes() == b""


def test_an_event_log_that_cannot_be_read_is_only_told(sweep: TrackedSweep) -> None:
    content = sweep.paths.events(1).read_bytes()
    sweep.paths.events(1).write_bytes(b"not json\n" + content)
    is_well, lines = examine(sweep, fix=True)
    assert not is_well
    assert "trials/0001/events.jsonl: cannot be read: " in lines[0]
    assert lines[-1] == "small: 1 finding, 0 mended"


def test_a_cached_data_set_with_a_wrong_checksum_is_decoded_anew(sweep: TrackedSweep) -> None:
    entry = open_cache(DataConfig(name="digits"), sweep.paths.cache_dir)
    assert examine(sweep) == (True, [HEALTHY])
    content = bytearray(entry.inputs.read_bytes())
    content[1000] ^= 1
    entry.inputs.write_bytes(content)
    assert_found_and_mended(
        sweep, "cache/digits-.*: its checksum is wrong; --fix removes it, and the data are decoded"
    )
    anew = open_cache(DataConfig(name="digits"), sweep.paths.cache_dir)
    assert anew.inputs.read_bytes() != content


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


def test_without_mlflow_the_other_checks_are_done(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://ann:hunter2@127.0.0.1:{unused.getsockname()[1]}"
        sweep = begin_sweep(tmp_path, trials=1, tracking={"uri": uri})
        sweep.run(reports(0.5))
        save_checkpoint(sweep.paths.checkpoint(0), {"epoch": 1})
        is_well, lines = examine(sweep, fix=True)
    assert not is_well
    assert "MLflow cannot be used" in lines[0]
    assert "hunter2" not in lines[0]
    assert lines[1].startswith("event logs: 3 events of 1 trial yet to be sent to MLflow; `s")
    assert lines[2].startswith("mended: ")
    assert lines[3] == "small: 3 findings, 1 mended"
    assert not sweep.paths.checkpoint(0).exists()


def test_without_the_storage_nothing_is_taken_for_an_orphan(sweep: TrackedSweep) -> None:
    save_checkpoint(sweep.paths.checkpoint(0), {"epoch": 1})
    sweep.paths.journal.unlink()
    is_well, lines = examine(sweep, fix=True)
    assert not is_well
    assert lines == [
        "storage: the storage has no study 'small'; "
        "so trials, checkpoints and MLflow are not looked at",
        "small: 1 finding, 0 mended",
    ]
    assert sweep.paths.checkpoint(0).exists()


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> float:
        return self.now_s


@pytest.mark.parametrize("is_alive", [True, False])
def test_whether_others_live_is_seen_by_their_leases(tmp_path: Path, is_alive: bool) -> None:
    sweep = begin_sweep(tmp_path, trials=2)
    study, clock = sweep.study, Clock()
    elsewhere = Leases(study.storage, study.study_id, "elsewhere", clock.now)
    elsewhere.renew("other")
    assert study.queue.claim("other", "worker") is not None
    study.leases = Leases(study.storage, study.study_id, "here", clock.now)

    def sleep(seconds: float) -> None:
        clock.now_s += seconds
        if is_alive:
            elsewhere.renew("other")

    notes: list[str] = []
    assert are_others_at_work(study, notes.append, sleep) is is_alive
    assert notes == ["looking for 30 s whether commands on other machines live ..."]


def test_nobody_is_waited_for_where_all_agents_are_here(sweep: TrackedSweep) -> None:
    def sleep(seconds: float) -> None:
        pytest.fail("waited in vain")

    assert not are_others_at_work(sweep.study, pytest.fail, sleep)
