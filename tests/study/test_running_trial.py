import errno
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState as OptunaState

from sweeper.config.settings import TrialConfig
from sweeper.errors import StoreError, TrialDiverged, TrialInterrupted, TrialLost, TrialPruned
from sweeper.events import Ended, Event, EventWriter, Interrupted, Started, read_events
from sweeper.locks import FileLock
from sweeper.study.presence import Presence
from sweeper.study.recovery import SILENT, Death, reclaim_orphans
from sweeper.study.running_trial import RunningTrial
from sweeper.study.storage.object_store import ObjectStore
from sweeper.study.storage.transfer import TrialTransfer
from sweeper.study.study import Attr, SweepStudy, state_of
from sweeper.study.tell import count_failure, end_trial
from sweeper.timing import Entry, TimeLedger
from sweeper.trial import EpochMetrics, FailureKind, Outcome, TrialState
from tests.support.sweep_studies import (
    Body,
    begin,
    claim_and_die,
    claim_trial,
    epoch,
    in_processes,
    killed,
    raises,
    reports,
    run_all,
    run_claimed,
    run_trial,
)

NAN = float("nan")
DIED = "its worker died: killed by SIGKILL"


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return begin(tmp_path)


def log(study: SweepStudy, number: int = 0) -> Sequence[Event]:
    return read_events(study.paths.events(number))[0]


def kinds(study: SweepStudy, number: int = 0) -> list[str]:
    return [type(event).__name__ for event in log(study, number)]


def last_outcome(study: SweepStudy) -> Outcome:
    last = log(study)[-1]
    assert isinstance(last, Ended)
    return last.outcome


def put_checkpoint(study: SweepStudy) -> Path:
    path = study.paths.checkpoint(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path


def hold_back(*signals: type[BaseException]) -> Body:
    """User code that lets no signal out."""

    def body(claim: RunningTrial) -> None:
        for number in (1, 2, 3):
            with suppress(*signals):
                claim.report(epoch(number, NAN))

    return body


def prune_after(*accuracies: float) -> Body:
    def body(claim: RunningTrial) -> None:
        reports(*accuracies)(claim)
        raise TrialPruned("by asha after epoch 2")

    return body


def test_a_complete_trial_keeps_its_best_epoch(study: SweepStudy) -> None:
    checkpoint = put_checkpoint(study)
    assert run_trial(study, reports(0.5, 0.75, 0.25)) == TrialState.COMPLETE
    trial = study.trials()[0]
    assert (trial.state, trial.values) == (OptunaState.COMPLETE, [0.75])
    assert trial.intermediate_values == {1: 0.5, 2: 0.75, 3: 0.25}
    assert kinds(study) == ["Started", "EpochMetrics", "EpochMetrics", "EpochMetrics", "Ended"]
    assert last_outcome(study) == Outcome(TrialState.COMPLETE, epoch(2, 0.75))
    assert not checkpoint.exists()


def test_the_seconds_of_a_trial_are_those_of_all_its_processes(study: SweepStudy) -> None:
    now_s = 0.0

    def run(body: Body) -> TrialState:
        trial = claim_trial(study, "worker")
        assert trial is not None
        return run_claimed(study, trial, body, ledger=TimeLedger(now=lambda: now_s))

    def interrupted(claim: RunningTrial) -> None:
        nonlocal now_s
        with claim.ledger.booked(Entry.STEP):
            now_s += 10
        raise TrialInterrupted("stopped")

    def complete(claim: RunningTrial) -> None:
        nonlocal now_s
        now_s += 3
        reports(0.5)(claim)
        with claim.ledger.booked(Entry.STEP):
            now_s += 20

    assert run(interrupted) == TrialState.WAITING
    assert run(complete) == TrialState.COMPLETE
    seconds = {"step": 30, "unexplained": 3}
    assert dict(last_outcome(study).seconds) == seconds
    assert study.trials()[0].user_attrs[Attr.SECONDS] == seconds


def test_a_started_trial_tells_what_it_runs_with(study: SweepStudy) -> None:
    trial = claim_trial(study, "worker")
    assert trial is not None
    with RunningTrial(study, trial, is_stopping=lambda: False, ledger=TimeLedger()) as claim:
        config: TrialConfig = claim.draw()
        claim.start(None, config.model, params={"model.depth": 2}, tags={"seed": "7"})
    [event] = log(study)
    assert isinstance(event, Started)
    assert event.params == {**config.params, "model.depth": 2}
    assert event.params["train.learning_rate"] == study.trials()[0].params["train.learning_rate"]
    assert (event.resumed, event.tags, event.model) == (0, {"seed": "7"}, config.model)


def test_a_pruned_trial_keeps_its_best_so_far(study: SweepStudy) -> None:
    assert run_trial(study, prune_after(0.75, 0.5)) == TrialState.PRUNED
    trial = study.trials()[0]
    assert (trial.state, trial.values) == (OptunaState.PRUNED, [0.75])
    assert last_outcome(study) == Outcome(
        TrialState.PRUNED, epoch(1, 0.75), "by asha after epoch 2"
    )
    assert study.n_finished() == 1


@pytest.mark.parametrize("bad", [NAN, float("inf"), float("-inf")])
def test_a_diverged_trial_is_pruned_without_a_value(study: SweepStudy, bad: float) -> None:
    assert run_trial(study, reports(0.5, bad, 0.9)) == TrialState.DIVERGED
    trial = study.trials()[0]
    assert (trial.state, trial.values) == (OptunaState.PRUNED, None)
    assert state_of(trial) == TrialState.DIVERGED
    assert last_outcome(study) == Outcome(
        TrialState.DIVERGED, epoch(1, 0.5), f"val_accuracy is {bad} after epoch 2"
    )


def test_any_metric_that_is_not_finite_ends_the_trial(study: SweepStudy) -> None:
    state = run_trial(study, lambda claim: claim.report(epoch(1, 0.5, train_loss=NAN)))
    assert state == TrialState.DIVERGED
    assert last_outcome(study).best is None


def test_a_signal_that_user_code_held_back_does_not_make_a_trial_complete(
    study: SweepStudy,
) -> None:
    assert run_trial(study, hold_back(TrialDiverged)) == TrialState.DIVERGED
    assert last_outcome(study).cause == "no finite epoch was reported"
    assert study.best_trial() is None


def test_an_exception_fails_the_trial_and_another_takes_its_place(study: SweepStudy) -> None:
    def body(claim: RunningTrial) -> None:
        reports(0.5)(claim)
        raise LookupError("no room\nfor weights")

    assert run_trial(study, body) == TrialState.FAILED
    trial = study.trials()[0]
    assert (trial.state, trial.values) == (OptunaState.FAIL, None)
    assert trial.user_attrs[Attr.CAUSE] == "LookupError: no room"
    outcome = last_outcome(study)
    assert (outcome.state, outcome.best) == (TrialState.FAILED, epoch(1, 0.5))
    assert "in body" in outcome.details
    assert outcome.details.endswith("LookupError: no room\nfor weights")
    assert study.counts() == {TrialState.FAILED: 1, TrialState.WAITING: 10}


def test_a_long_traceback_keeps_its_end(study: SweepStudy) -> None:
    def deep(n: int) -> None:
        if n == 0:
            raise ValueError("at the bottom")
        if n % 2:  # two lines take turns, as equal frames would be folded into one
            deep(n - 1)
        else:
            deep(n - 1)

    run_trial(study, lambda claim: deep(40))
    lines = last_outcome(study).details.splitlines()
    assert len(lines) == 20
    assert lines[-1] == "ValueError: at the bottom"


def test_leaving_the_process_is_a_failure_like_any_other(study: SweepStudy) -> None:
    assert run_trial(study, lambda claim: sys.exit(0)) == TrialState.FAILED
    assert study.trials()[0].user_attrs[Attr.CAUSE] == "SystemExit: 0"


def test_a_trial_that_fails_before_it_starts_has_a_whole_log(study: SweepStudy) -> None:
    trial = claim_trial(study, "worker")
    assert trial is not None
    with RunningTrial(study, trial, is_stopping=lambda: False, ledger=TimeLedger()) as claim:
        claim.conclude(lambda: raises(RuntimeError("no data"))(claim))
    assert kinds(study) == ["Started", "Ended"]


def test_an_interrupted_trial_waits_with_its_checkpoint(study: SweepStudy) -> None:
    checkpoint = put_checkpoint(study)
    assert run_trial(study, reports(0.5, 0.6), is_stopping=lambda: True) == TrialState.WAITING
    trial = study.trials()[0]
    assert (trial.state, trial.intermediate_values) == (OptunaState.WAITING, {1: 0.5})
    assert checkpoint.exists()
    last = log(study)[-1]
    assert isinstance(last, Interrupted)
    assert last.cause == "stopped after epoch 1"
    assert study.counts() == {TrialState.WAITING: 10}


class WatchedObjectStore(ObjectStore):
    """Notes how the study's trials stand while something is pushed."""

    def __init__(self, url: str, study: SweepStudy) -> None:
        super().__init__(url, study="small", key="0a1b2c")
        self.seen: list[TrialState] = []
        self._study = study

    def push(self, number: int, *arguments: Any) -> None:
        super().push(number, *arguments)
        trial = self._study.trials()[number]
        lock = FileLock(self._study.paths.trial_lock(number))
        assert lock.try_acquire(), "it is held while the network is waited for"
        lock.release()
        self.seen.append(state_of(trial))


def test_a_trial_is_in_the_object_store_before_others_may_claim_it(study: SweepStudy) -> None:
    (study.paths.root / "object_store").mkdir()
    object_store = WatchedObjectStore(f"file://{study.paths.root}/object_store", study)
    trial = claim_trial(study, "worker")
    assert trial is not None
    put_checkpoint(study)
    transfer = TrialTransfer(object_store, study.paths, pytest.fail)
    state = run_claimed(study, trial, reports(0.5), is_stopping=lambda: True, transfer=transfer)
    assert (state, object_store.seen) == (TrialState.WAITING, [TrialState.RUNNING])
    manifest = object_store.newest(0)
    assert manifest is not None
    assert (manifest.claim, set(manifest.files)) == (1, {"events.jsonl", "checkpoint.pt"})
    object_store.fetch(0, manifest, "events.jsonl", study.paths.root / "log")
    assert (study.paths.root / "log").read_bytes() == study.paths.events(0).read_bytes()


def test_nothing_is_pruned_or_interrupted_after_the_last_epoch(tmp_path: Path) -> None:
    pruner = {"name": "median", "startup_trials": 0, "min_epochs": 3}
    study = begin(tmp_path, pruner=pruner)
    run_trial(study, reports(0.9, 0.9, 0.9))
    worse = run_trial(study, reports(0.1, 0.1, 0.1))
    assert worse == TrialState.COMPLETE
    stops = iter([False, False, True])
    state = run_trial(study, reports(0.9, 0.9, 0.9), is_stopping=lambda: next(stops))
    assert state == TrialState.COMPLETE


def test_a_resumed_trial_is_the_same_trial(study: SweepStudy) -> None:
    run_trial(study, reports(0.5, 0.6), is_stopping=lambda: True)
    drawn = study.trials()[0].params
    assert run_trial(study, reports(0.9, 0.6, 0.7)) == TrialState.COMPLETE
    trial = study.trials()[0]
    assert trial.params == drawn
    # Epoch 1 is known, so what the second process says of it is ignored.
    assert trial.intermediate_values == {1: 0.5, 2: 0.6, 3: 0.7}
    assert [event.resumed for event in log(study) if isinstance(event, Started)] == [0, 1]
    assert [event.epoch for event in log(study) if isinstance(event, EpochMetrics)] == [1, 2, 3]


def test_an_epoch_that_reached_the_log_alone_is_filled_in(study: SweepStudy) -> None:
    run_trial(study, reports(0.5, 0.6), is_stopping=lambda: True)
    with EventWriter(study.paths.events(0)) as events:
        events.append(epoch(2, 0.9))
    assert study.trials()[0].intermediate_values == {1: 0.5}
    trial = claim_trial(study, "worker")
    assert trial is not None
    with RunningTrial(study, trial, is_stopping=lambda: False, ledger=TimeLedger()) as claim:
        assert claim.history == [epoch(1, 0.5), epoch(2, 0.9)]
        assert study.trials()[0].intermediate_values == {1: 0.5, 2: 0.9}
        assert claim.conclude(lambda: reports(0.5, 0.9, 0.7)(claim)) == TrialState.COMPLETE
    assert study.trials()[0].values == [0.9]


def test_an_epoch_that_diverged_ends_the_trial_also_after_a_crash(study: SweepStudy) -> None:
    run_trial(study, reports(0.5, 0.6), is_stopping=lambda: True)
    with EventWriter(study.paths.events(0)) as events:
        events.append(epoch(2, NAN))
    assert run_trial(study, reports(0.5, NAN, 0.9)) == TrialState.DIVERGED
    assert last_outcome(study).best == epoch(1, 0.5)


def died(worker: str, kind: FailureKind = FailureKind.LOST_WORKER) -> Death:
    return Death(worker, "killed by SIGKILL", kind, "its last lines")


def test_a_killed_workers_trial_waits_again_until_it_killed_four(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for death in (1, 2, 3, 4):
        killed(claim_and_die, tmp_path, {}, f"worker{death}", 1)
        assert study.counts()[TrialState.RUNNING] == 1
        assert reclaim_orphans(study, SILENT, died(f"worker{death}")) == 1
        trial = study.trials()[0]
        assert trial.user_attrs[Attr.RETRIES] == {"lost_worker": [death, 1, death]}
        expected = OptunaState.FAIL if death == 4 else OptunaState.WAITING
        assert trial.state == expected
    assert study.trials()[0].user_attrs[Attr.RESUMED] == 3
    assert study.trials()[0].user_attrs[Attr.FAILURE] == "lost_worker"
    assert last_outcome(study) == Outcome(
        TrialState.FAILED,
        epoch(1, 0.5),
        "killed by SIGKILL, 4 times",
        "its last lines",
        FailureKind.LOST_WORKER,
        retries=3,
    )
    assert study.counts() == {TrialState.FAILED: 1, TrialState.WAITING: 9}
    run_all(study, reports(0.5))
    assert study.counts() == {TrialState.FAILED: 1, TrialState.COMPLETE: 10}, "one took its place"


def test_deaths_are_counted_anew_once_a_trial_got_further(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for n_epochs in (1, 2, 3, 4, 5):
        killed(claim_and_die, tmp_path, {}, f"worker{n_epochs}", n_epochs)
        reclaim_orphans(study, SILENT, died(f"worker{n_epochs}"))
    assert study.trials()[0].state == OptunaState.WAITING
    assert study.trials()[0].user_attrs[Attr.RETRIES] == {"lost_worker": [1, 5, 5]}


def test_a_worker_that_died_takes_no_other_workers_trial_along(study: SweepStudy) -> None:
    for worker in ("timed out", "bystander"):
        claim_trial(study, worker)
    assert reclaim_orphans(study, SILENT, died("timed out", FailureKind.TRIAL_TIMEOUT)) == 2
    assert [trial.state for trial in study.trials()[:2]] == [OptunaState.FAIL, OptunaState.WAITING]
    assert last_outcome(study).kind == FailureKind.TRIAL_TIMEOUT
    assert last_outcome(study).retries == 0


def test_a_death_for_one_trial_does_not_blame_the_next(study: SweepStudy) -> None:
    run_trial(study, reports(0.5))
    claim_trial(study, "overdue")
    death = Death("overdue", "trial timeout", FailureKind.TRIAL_TIMEOUT, "", number=0)
    assert reclaim_orphans(study, SILENT, death) == 1
    assert study.trials()[1].state == OptunaState.WAITING


def test_a_claim_that_failed_is_counted_once_however_often_it_is_settled(
    study: SweepStudy,
) -> None:
    trial = claim_trial(study)
    assert trial is not None
    for _ in range(5):
        assert count_failure(study, trial, FailureKind.LOST_WORKER, 0) == 1
    study.put_back(0)
    claim_trial(study)
    assert count_failure(study, trial, FailureKind.LOST_WORKER, 0) == 2


def test_a_trial_that_ran_out_of_memory_is_tried_once_more_alone(study: SweepStudy) -> None:
    no_memory = raises(MemoryError("70 GiB"))
    assert run_trial(study, no_memory) == TrialState.WAITING
    beside_others = claim_trial(study)
    assert beside_others is not None
    assert beside_others.number == 1
    again = claim_trial(study, alone=True)
    assert again is not None
    assert again.number == 0
    assert claim_trial(study, alone=True) is None
    assert run_claimed(study, again, no_memory) == TrialState.FAILED
    outcome = last_outcome(study)
    assert (outcome.kind, outcome.retries) == (FailureKind.OUT_OF_MEMORY, 1)
    assert outcome.cause == "MemoryError: 70 GiB, 2 times"
    assert study.counts()[TrialState.WAITING] == 9


def test_a_full_disk_is_not_the_trials_fault(study: SweepStudy) -> None:
    with pytest.raises(StoreError, match="No space left"):
        run_trial(study, raises(OSError(errno.ENOSPC, "No space left on device")))
    assert study.trials()[0].state == OptunaState.RUNNING
    assert kinds(study) == ["Started"]


def test_a_trial_that_was_taken_over_is_written_no_more(study: SweepStudy) -> None:
    def lose(held: RunningTrial) -> None:
        held.report(epoch(1, 0.5))
        assert reclaim_orphans(study, "it seemed dead") == 1
        again = claim_trial(study, "successor")
        assert again is not None
        assert again.number == 0
        held.report(epoch(2, 0.6))

    with pytest.raises(TrialLost, match="trial 0 was taken over and is RUNNING now"):
        run_trial(study, lose)
    trial = study.trials()[0]
    assert (trial.state, trial.intermediate_values) == (OptunaState.RUNNING, {1: 0.5})
    assert kinds(study) == ["Started", "EpochMetrics", "Interrupted"]


def test_the_end_of_a_trial_that_was_taken_over_is_not_written(study: SweepStudy) -> None:
    def lose(held: RunningTrial) -> None:
        held.report(epoch(1, 0.5))
        reclaim_orphans(study, "it seemed dead")

    with pytest.raises(TrialLost, match="is WAITING now"):
        run_trial(study, lose)
    assert study.trials()[0].state == OptunaState.WAITING


def test_whoever_stops_a_worker_does_not_blame_its_trial(study: SweepStudy) -> None:
    for _ in range(6):
        claim_trial(study, "stopped")
        assert reclaim_orphans(study, "stopped at once") == 1
    assert study.counts() == {TrialState.WAITING: 10}


def test_a_living_workers_trial_is_left_alone(study: SweepStudy) -> None:
    presence = Presence(study.paths.presence_dir, "living")
    trial = claim_trial(study, "living")
    assert trial is not None
    assert reclaim_orphans(study, DIED) == 0
    assert study.trials()[0].state == OptunaState.RUNNING
    presence.leave()
    assert reclaim_orphans(study, DIED) == 1


def reclaim(index: int, folder: Path, changes: dict[str, Any]) -> None:
    n = reclaim_orphans(begin(folder, **changes), DIED)
    (folder / f"reclaimed{index}").write_text(str(n))


def test_processes_that_reclaim_at_once_put_a_trial_back_once(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for name in ("dead", "gone"):
        claim_trial(study, name)
    in_processes(3, reclaim, tmp_path, {})
    assert sorted((tmp_path / f"reclaimed{i}").read_text() for i in range(3)) == ["0", "0", "2"]
    assert [trial.user_attrs.get(Attr.RESUMED) for trial in study.trials()[:2]] == [1, 1]
    assert study.counts() == {TrialState.WAITING: 10}


def test_an_end_that_reached_the_log_alone_is_brought_to_the_storage(study: SweepStudy) -> None:
    trial = claim_trial(study, "dead")
    assert trial is not None
    outcome = Outcome(TrialState.COMPLETE, epoch(3, 0.8))
    with EventWriter(study.paths.events(0)) as events:
        events.append(Ended(0.0, outcome))
    assert reclaim_orphans(study, DIED) == 1
    ended = study.trials()[0]
    assert (ended.state, ended.values) == (OptunaState.COMPLETE, [0.8])
    assert kinds(study) == ["Ended"]


def test_an_end_can_be_written_for_every_state(study: SweepStudy) -> None:
    for state in ("complete", "pruned", "diverged", "failed"):
        trial = claim_trial(study, "worker")
        assert trial is not None
        end_trial(study, trial.number, Outcome(TrialState(state), epoch(1, 0.5), "why"))
    ended = study.trials()[:4]
    assert [state_of(trial) for trial in ended] == ["complete", "pruned", "diverged", "failed"]
    assert [trial.values for trial in ended] == [[0.5], [0.5], None, None]
