import asyncio
import errno
import sys
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event

import optuna
import pytest
from optuna.trial import TrialState as OptunaState

from sweeper.errors import (
    ProgramError,
    StoreError,
    TrialDiverged,
    TrialInterrupted,
    TrialLost,
    TrialPruned,
)
from sweeper.events import Interrupted
from sweeper.study.attributes import Attr, state_of
from sweeper.study.conclude import Attempt, advance, conclude
from sweeper.study.recovery import reclaim_orphans
from sweeper.study.result import Result
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.timing import Entry, TimeLedger
from sweeper.trial import EpochMetrics, FailureKind, Outcome, TrialState
from tests.support.function_studies import begin_function
from tests.support.sweep_studies import (
    Body,
    begin,
    claim_trial,
    epoch,
    kinds,
    last_outcome,
    log,
    put_checkpoint,
    raises,
    reports,
    run_claimed,
    run_trial,
)

NAN = float("nan")


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return begin(tmp_path)


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


@pytest.mark.parametrize("bad", [NAN, float("inf"), float("-inf")])
def test_a_metric_beside_the_objective_may_be_anything(study: SweepStudy, bad: float) -> None:
    def body(claim: RunningTrial) -> None:
        claim.report(epoch(1, 0.5, auroc=0.5))
        claim.report(epoch(2, 0.6, auroc=bad))

    assert run_trial(study, body) == TrialState.COMPLETE
    outcome = last_outcome(study)
    assert outcome.best is not None
    assert outcome.best.epoch == 2
    assert study.trials()[0].values == [0.6]


def test_a_function_may_call_any_metric_a_loss(tmp_path: Path) -> None:
    def body(claim: RunningTrial) -> None:
        claim.report(EpochMetrics(1, {"score": 0.5, "train_loss": NAN}, 0.0))

    assert run_trial(begin_function(tmp_path), body) == TrialState.COMPLETE


#: What user code raises to say how its trial ended, and what it says.
WORDS = [
    (optuna.TrialPruned("hopeless"), TrialState.PRUNED, "TrialPruned: hopeless"),
    (FloatingPointError("loss became NaN"), TrialState.DIVERGED, "FloatingPointError: loss bec"),
    (SystemExit(), TrialState.COMPLETE, ""),
    (SystemExit(0), TrialState.COMPLETE, ""),
    (SystemExit(1), TrialState.FAILED, "SystemExit: 1"),
    (SystemExit("no such file"), TrialState.FAILED, "SystemExit: no such file"),
    (KeyboardInterrupt(), TrialState.FAILED, "KeyboardInterrupt"),
    (asyncio.CancelledError(), TrialState.FAILED, "CancelledError"),
    (GeneratorExit(), TrialState.FAILED, "GeneratorExit"),
]


@pytest.mark.parametrize(("word", "state", "cause"), WORDS)
def test_words_of_python_and_optuna_are_taken_as_what_they_mean(
    study: SweepStudy, word: BaseException, state: TrialState, cause: str
) -> None:
    def body(claim: RunningTrial) -> None:
        claim.report(epoch(1, 0.5))
        raise word

    assert run_trial(study, body) == state
    outcome = last_outcome(study)
    assert outcome.cause.startswith(cause)
    assert outcome.best == epoch(1, 0.5)


def test_who_leaves_without_a_report_has_failed(study: SweepStudy) -> None:
    assert run_trial(study, raises(SystemExit(0))) == TrialState.FAILED


@pytest.mark.parametrize("n_epochs", [0, 1])
@pytest.mark.parametrize(
    "error",
    [SystemExit(), SystemExit(143), KeyboardInterrupt(), RuntimeError("no more batches")],
    ids=repr,
)
def test_what_user_code_raises_while_its_process_is_stopping_puts_the_trial_back(
    study: SweepStudy, error: BaseException, n_epochs: int
) -> None:
    stopping = Event()

    def body(claim: RunningTrial) -> None:
        reports(*[0.5] * n_epochs)(claim)
        stopping.set()
        raise error

    assert run_trial(study, body, is_stopping=stopping.is_set) == TrialState.WAITING
    last = log(study)[-1]
    assert isinstance(last, Interrupted)
    assert last.cause.startswith(f"stopped, which its code ended by {type(error).__name__}")
    assert study.counts() == {TrialState.WAITING: 10}


def test_a_word_of_how_a_trial_ended_counts_also_while_its_process_is_stopping(
    study: SweepStudy,
) -> None:
    stopping = Event()

    def body(claim: RunningTrial) -> None:
        claim.report(epoch(1, 0.5))
        stopping.set()
        raise optuna.TrialPruned("hopeless")

    assert run_trial(study, body, is_stopping=stopping.is_set) == TrialState.PRUNED


def test_any_loss_of_built_in_training_that_is_not_finite_ends_the_trial(
    study: SweepStudy,
) -> None:
    def body(claim: RunningTrial) -> None:
        claim.report(epoch(1, 0.5, train_loss=2.0))
        claim.report(epoch(2, 0.6, train_loss=NAN))

    assert run_trial(study, body) == TrialState.DIVERGED
    outcome = last_outcome(study)
    assert outcome.best == epoch(1, 0.5, train_loss=2.0)
    assert outcome.cause == "train_loss is nan after epoch 2"


def test_a_signal_that_user_code_held_back_does_not_make_a_trial_complete(
    study: SweepStudy,
) -> None:
    assert run_trial(study, hold_back(TrialDiverged)) == TrialState.DIVERGED
    assert last_outcome(study).cause == "no finite epoch was reported"
    assert Result(study).best is None


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


def test_a_program_that_failed_is_shown_in_its_own_words(study: SweepStudy) -> None:
    error = ProgramError("train.command: t ended", "Traceback\nKeyError: 'lr'", is_killed=False)
    assert run_trial(study, raises(error)) == TrialState.FAILED
    assert study.trials()[0].user_attrs[Attr.CAUSE] == "ProgramError: train.command: t ended"
    assert last_outcome(study).details == "Traceback\nKeyError: 'lr'"


def test_a_program_that_was_killed_is_started_again_beside_others(study: SweepStudy) -> None:
    error = ProgramError("train.command: t was killed", "", is_killed=True)
    assert run_trial(study, raises(error)) == TrialState.WAITING
    last = log(study)[-1]
    assert isinstance(last, Interrupted)
    assert last.cause == "ProgramError: train.command: t was killed; it is tried again"
    claimed = claim_trial(study)
    assert claimed is not None
    assert claimed.number == 0


def test_leaving_the_process_is_a_failure_like_any_other(study: SweepStudy) -> None:
    assert run_trial(study, lambda claim: sys.exit(0)) == TrialState.FAILED
    assert study.trials()[0].user_attrs[Attr.CAUSE] == "SystemExit: 0"


def test_a_trial_that_fails_before_it_starts_has_a_whole_log(study: SweepStudy) -> None:
    trial = claim_trial(study, "worker")
    assert trial is not None
    with RunningTrial(study, trial, is_stopping=lambda: False, ledger=TimeLedger()) as claim:
        conclude(claim, map(raises(RuntimeError("no data")), [claim]))
    assert kinds(study) == ["Started", "Ended"]


def test_a_trial_goes_on_step_by_step_until_it_ends(study: SweepStudy) -> None:
    trial = claim_trial(study, "worker")
    assert trial is not None
    with RunningTrial(study, trial, is_stopping=lambda: False, ledger=TimeLedger()) as claim:

        def steps() -> Iterator[None]:
            yield
            claim.report(epoch(1, 0.5))
            yield

        work = steps()
        assert [advance(claim, work) for _ in range(3)] == [None, None, TrialState.COMPLETE]
    assert study.trials()[0].value == 0.5


def test_a_step_that_raises_ends_its_trial(study: SweepStudy) -> None:
    trial = claim_trial(study, "worker")
    assert trial is not None
    with RunningTrial(study, trial, is_stopping=lambda: False, ledger=TimeLedger()) as claim:

        def steps() -> Iterator[None]:
            yield
            raises(StopIteration("no batch"))(claim)

        work = steps()
        assert [advance(claim, work) for _ in range(2)] == [None, TrialState.FAILED]
    assert study.trials()[0].user_attrs[Attr.CAUSE] == "StopIteration: no batch"


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


def test_the_end_of_a_trial_that_was_taken_over_is_not_written(study: SweepStudy) -> None:
    def lose(held: RunningTrial) -> None:
        held.report(epoch(1, 0.5))
        reclaim_orphans(study, "it seemed dead")

    with pytest.raises(TrialLost, match="is WAITING now"):
        run_trial(study, lose)
    assert study.trials()[0].state == OptunaState.WAITING


def test_what_is_not_the_trials_doing_ends_nothing(study: SweepStudy) -> None:
    for error in (StoreError("the server restarts"), TrialLost("it is another's")):
        with pytest.raises(type(error)):
            run_trial(study, raises(error))
    assert [trial.state for trial in study.trials()[:2]] == [OptunaState.RUNNING] * 2


def test_a_password_in_an_exception_stays_out_of_storage_and_log(study: SweepStudy) -> None:
    run_trial(study, raises(LookupError("no answer from postgresql://ann:hunter2@db/sweeps")))
    outcome = last_outcome(study)
    assert outcome.cause == "LookupError: no answer from postgresql://***@db/sweeps"
    assert "hunter2" not in outcome.details
    assert "hunter2" not in study.paths.journal.read_text()


class Weights:
    """Memory that a trial took."""


def test_a_failed_trial_keeps_none_of_its_memory(study: SweepStudy) -> None:
    held: list[weakref.ref[Weights]] = []

    def body(trial: RunningTrial) -> None:
        weights = Weights()
        held.append(weakref.ref(weights))
        raise MemoryError("70 GiB")

    run_trial(study, body)
    assert held[0]() is None


def test_an_attempt_is_judged_by_the_rule_of_its_failures_kind(study: SweepStudy) -> None:
    claim_trial(study)
    history = [epoch(1, 0.5), epoch(2, 0.75), epoch(3, NAN)]
    attempt = Attempt(study, 0, history, {"step": 1.0})
    assert attempt.judge_failure(FailureKind.LOST_WORKER, "it died", "") is None
    assert attempt.judge_failure(FailureKind.EXCEPTION, "ValueError: no", "trace") == Outcome(
        TrialState.FAILED, epoch(2, 0.75), "ValueError: no", "trace", FailureKind.EXCEPTION
    )
    assert attempt.outcome(TrialState.COMPLETE).seconds == {"step": 1.0}
