import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState as OptunaState
from sweep_studies import (
    Body,
    begin,
    claim_and_die,
    epoch,
    in_processes,
    killed,
    raises,
    reports,
    run_trial,
)

from sweeper.claim import Claim, end_trial, reclaim_orphans
from sweeper.config import TrialConfig
from sweeper.errors import TrialDiverged, TrialPruned
from sweeper.events import Ended, Event, EventWriter, Interrupted, Started, read_events
from sweeper.lock import Presence
from sweeper.study import Attr, SweepStudy, state_of
from sweeper.trial import EpochMetrics, Outcome, TrialState

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

    def body(claim: Claim) -> None:
        for number in (1, 2, 3):
            with suppress(*signals):
                claim.report(epoch(number, NAN))

    return body


def prune_after(*accuracies: float) -> Body:
    def body(claim: Claim) -> None:
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


def test_a_started_trial_tells_what_it_runs_with(study: SweepStudy) -> None:
    trial = study.claim("worker")
    assert trial is not None
    with Claim(study, trial, is_stopping=lambda: False) as claim:
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
    def body(claim: Claim) -> None:
        reports(0.5)(claim)
        raise MemoryError("no room\nfor weights")

    assert run_trial(study, body) == TrialState.FAILED
    trial = study.trials()[0]
    assert (trial.state, trial.values) == (OptunaState.FAIL, None)
    assert trial.user_attrs[Attr.CAUSE] == "MemoryError: no room"
    outcome = last_outcome(study)
    assert (outcome.state, outcome.best) == (TrialState.FAILED, epoch(1, 0.5))
    assert "in body" in outcome.details
    assert outcome.details.endswith("MemoryError: no room\nfor weights")
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
    trial = study.claim("worker")
    assert trial is not None
    with Claim(study, trial, is_stopping=lambda: False) as claim:
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
    trial = study.claim("worker")
    assert trial is not None
    with Claim(study, trial, is_stopping=lambda: False) as claim:
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


def test_a_killed_workers_trial_waits_again_until_it_killed_four(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for death in (1, 2, 3, 4):
        killed(claim_and_die, tmp_path, {}, f"worker{death}", 1)
        assert study.counts()[TrialState.RUNNING] == 1
        assert reclaim_orphans(study, DIED, is_fault=True) == 1
        trial = study.trials()[0]
        assert trial.user_attrs[Attr.DEATHS] == [death, 1]
        expected = OptunaState.FAIL if death == 4 else OptunaState.WAITING
        assert trial.state == expected
    assert study.trials()[0].user_attrs[Attr.RESUMED] == 3
    outcome = last_outcome(study)
    assert outcome.cause == f"its worker died 4 times: {DIED}"
    assert outcome.best == epoch(1, 0.5)
    assert study.counts() == {TrialState.FAILED: 1, TrialState.WAITING: 10}


def test_deaths_are_counted_anew_once_a_trial_got_further(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for n_epochs in (1, 2, 3, 4, 5):
        killed(claim_and_die, tmp_path, {}, f"worker{n_epochs}", n_epochs)
        reclaim_orphans(study, DIED, is_fault=True)
    assert study.trials()[0].state == OptunaState.WAITING
    assert study.trials()[0].user_attrs[Attr.DEATHS] == [1, 5]


def test_whoever_stops_a_worker_does_not_blame_its_trial(study: SweepStudy) -> None:
    for _ in range(6):
        study.claim("stopped")
        assert reclaim_orphans(study, "stopped at once") == 1
    assert study.counts() == {TrialState.WAITING: 10}


def test_a_living_workers_trial_is_left_alone(study: SweepStudy) -> None:
    presence = Presence(study.paths.presence_dir, "living")
    trial = study.claim("living")
    assert trial is not None
    assert reclaim_orphans(study, DIED) == 0
    assert study.trials()[0].state == OptunaState.RUNNING
    presence.leave()
    assert reclaim_orphans(study, DIED) == 1


def test_a_trial_of_another_machine_is_left_alone(tmp_path: Path) -> None:
    study = begin(tmp_path, storage=f"sqlite:///{tmp_path}/optuna.db", run={"workers": 1})
    trial = study.claim("dead")
    assert trial is not None
    study.storage.set_trial_user_attr(study.trial_id(0), Attr.OWNER, "elsewhere:dead")
    assert reclaim_orphans(study, DIED) == 0
    assert study.counts()[TrialState.RUNNING] == 1


def reclaim(index: int, folder: Path, changes: dict[str, Any]) -> None:
    n = reclaim_orphans(begin(folder, **changes), DIED)
    (folder / f"reclaimed{index}").write_text(str(n))


def test_processes_that_reclaim_at_once_put_a_trial_back_once(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for name in ("dead", "gone"):
        study.claim(name)
    in_processes(3, reclaim, tmp_path, {})
    assert sorted((tmp_path / f"reclaimed{i}").read_text() for i in range(3)) == ["0", "0", "2"]
    assert [trial.user_attrs.get(Attr.RESUMED) for trial in study.trials()[:2]] == [1, 1]
    assert study.counts() == {TrialState.WAITING: 10}


def test_an_end_that_reached_the_log_alone_is_brought_to_the_storage(study: SweepStudy) -> None:
    trial = study.claim("dead")
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
        trial = study.claim("worker")
        assert trial is not None
        end_trial(study, trial.number, Outcome(TrialState(state), epoch(1, 0.5), "why"))
    ended = study.trials()[:4]
    assert [state_of(trial) for trial in ended] == ["complete", "pruned", "diverged", "failed"]
    assert [trial.values for trial in ended] == [[0.5], [0.5], None, None]
