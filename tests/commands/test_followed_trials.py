from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.commands.followed_trials import FollowedTrials, TrialRow
from sweeper.config.settings import Scalar
from sweeper.events import Ended, Event, EventWriter, Interrupted, Started
from sweeper.paths import RunPaths
from sweeper.study.trial_cache import Standing
from sweeper.trial import EpochMetrics, Objective, Outcome, TrialState
from tests.support.sweep_studies import epoch, spec_of

SPEC = spec_of(Path())
PARAMS: Mapping[str, Scalar] = {"model.architecture": "own.nets:small", "train.epochs": 3}
NAN = EpochMetrics(1, {"val_accuracy": float("nan")}, 0.0)


def frozen(number: int) -> FrozenTrial:
    trial = optuna.trial.create_trial(state=OptunaState.RUNNING)
    trial.number = number
    return trial


def standing(n_trials: int, *open_numbers: int) -> Standing:
    """So many trials, of which those have not ended."""
    running = [frozen(number) for number in open_numbers]
    return Standing(n_trials, n_trials - len(running), [], running)


NOTHING = standing(0)
#: Five trials, none of which has ended.
FIVE = standing(5, *range(5))


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "mlruns", "small")


def append(paths: RunPaths, number: int, *events: Event) -> None:
    with EventWriter(paths.events(number)) as writer:
        for event in events:
            writer.append(event)


def started(time_s: float, resumed: int = 0) -> Started:
    return Started(time_s, resumed, PARAMS, {}, None, None)


def ended(state: TrialState, best: EpochMetrics | None, cause: str = "") -> Ended:
    return Ended(99.0, Outcome(state, best, cause, "last lines"))


def test_a_study_without_trials_has_an_empty_table(paths: RunPaths) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    assert trials.poll(FIVE) == []
    assert trials.running() == []


def test_a_running_trial_shows_its_best_epoch_and_grows(paths: RunPaths) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    append(paths, 4, started(10.0), epoch(1, 0.5), epoch(2, 0.4))
    assert trials.poll(FIVE) == []
    row = TrialRow(
        4,
        params=PARAMS,
        epoch=2,
        progress=2.0,
        n_epochs=3,
        best=epoch(1, 0.5),
        begun_s=10.0,
    )
    assert trials.running() == [row]
    append(paths, 4, epoch(3, 0.6))
    trials.poll(FIVE)
    [row] = trials.running()
    assert (row.epoch, row.best) == (3, epoch(3, 0.6))


def test_a_minimised_objective_keeps_the_lowest_epoch(paths: RunPaths) -> None:
    minimised = replace(SPEC, objective=Objective(("val_accuracy",), ("minimize",)))
    trials = FollowedTrials(paths, minimised, NOTHING)
    append(paths, 0, started(1.0), epoch(1, 0.5), epoch(2, 0.4), epoch(3, 0.6))
    trials.poll(FIVE)
    assert trials.running()[0].best == epoch(2, 0.4)


def test_an_interrupted_trial_waits_and_says_why(paths: RunPaths) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    append(paths, 0, started(1.0), epoch(1, 0.5), Interrupted(2.0, "stopped after epoch 1"))
    assert trials.poll(FIVE) == []
    assert trials.running() == []
    [row] = trials.stopped()
    assert (row.state, row.ended_s, row.cause) == (
        TrialState.WAITING,
        2.0,
        "stopped after epoch 1",
    )


def test_a_resumed_trial_goes_on_and_forgets_why_it_waited(paths: RunPaths) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    append(paths, 0, started(1.0), epoch(1, 0.5), Interrupted(2.0, "its worker died"))
    trials.poll(FIVE)
    append(paths, 0, started(5.0, resumed=1), epoch(2, 0.4))
    trials.poll(FIVE)
    [row] = trials.running()
    assert (row.begun_s, row.ended_s, row.cause) == (5.0, None, "")
    assert (row.epoch, row.best) == (2, epoch(1, 0.5))


@pytest.mark.parametrize(
    "state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.DIVERGED, TrialState.FAILED]
)
def test_a_trial_that_ended_is_told_once(paths: RunPaths, state: TrialState) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    append(paths, 0, started(1.0), epoch(1, 0.5), ended(state, epoch(1, 0.5), "why"))
    append(paths, 1, started(1.0))
    [row] = trials.poll(FIVE)
    assert trials.stopped() == [row]
    assert (row.number, row.state, row.ended_s) == (0, state, 99.0)
    assert (row.best, row.cause) == (epoch(1, 0.5), "why")
    assert trials.poll(FIVE) == []
    assert [row.number for row in trials.running()] == [1]


def test_the_seconds_of_a_trial_are_those_of_all_its_processes(paths: RunPaths) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    told = {"start": 9.0, "step": 30.0, "evaluate": 5.0}
    append(paths, 0, started(100.0), epoch(1, 0.5), Interrupted(136.0, "stopped", told))
    trials.poll(FIVE)
    assert [row.seconds(1000.0) for row in trials.stopped()] == [35.0]
    append(paths, 0, started(1000.0, resumed=1), epoch(2, 0.6), Interrupted(1007.0, "killed"))
    append(paths, 0, started(2000.0, resumed=2))
    trials.poll(FIVE)
    assert [row.seconds(2001.0) for row in trials.running()] == [36.0]
    append(paths, 0, Ended(2004.0, Outcome(TrialState.COMPLETE, epoch(2, 0.6))))
    assert [row.seconds(9999.0) for row in trials.poll(FIVE)] == [39.0]


def test_a_trial_without_a_finite_epoch_has_no_best(paths: RunPaths) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    append(paths, 0, started(1.0), NAN, ended(TrialState.DIVERGED, None, "val_accuracy is nan"))
    [row] = trials.poll(FIVE)
    assert row.best is None


def test_the_logs_of_settled_trials_are_not_read(paths: RunPaths) -> None:
    trials = FollowedTrials(paths, SPEC, standing(2, 1))
    append(paths, 0, started(1.0), ended(TrialState.COMPLETE, None))
    append(paths, 1, started(1.0), ended(TrialState.COMPLETE, None))
    assert [row.number for row in trials.poll(FIVE)] == [1]
    assert [row.number for row in trials.stopped()] == [1]


def test_a_function_of_the_users_has_no_known_length(paths: RunPaths) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    append(paths, 0, Started(1.0, 0, {"train.function": "own:run"}, {}, None, None))
    append(paths, 0, EpochMetrics(1, {"other": 1.0}, 2.0))
    trials.poll(FIVE)
    [row] = trials.running()
    assert (row.n_epochs, row.epoch, row.best) == (0, 1, None)


def test_a_trial_that_came_and_went_between_two_looks_is_told(paths: RunPaths) -> None:
    trials = FollowedTrials(paths, SPEC, standing(1))
    append(paths, 1, started(1.0), ended(TrialState.COMPLETE, epoch(1, 0.5)))
    assert [row.number for row in trials.poll(standing(2))] == [1]


def test_of_many_ended_trials_a_few_rows_are_kept_and_no_log_is_read_again(
    paths: RunPaths,
) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    for number in range(30):
        log = (started(1.0), Ended(100.0 + number, Outcome(TrialState.COMPLETE, epoch(1, 0.5))))
        append(paths, number, *log)
        trials.poll(standing(number + 1, number))
    assert [row.number for row in trials.stopped()] == list(range(22, 30))
    for number in range(29):
        append(paths, number, started(200.0))
    trials.poll(standing(30, 29))
    assert trials.running() == []


def test_a_trial_that_another_machine_ended_is_gone(paths: RunPaths) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    append(paths, 0, started(1.0), Interrupted(2.0, "stopped"))
    append(paths, 1, started(1.0))
    trials.poll(standing(2, 0, 1))
    trials.poll(standing(2))
    assert (trials.stopped(), trials.running()) == ([], [])


def test_the_part_that_is_done_of_an_epoch_is_shown_until_the_log_has_more(
    paths: RunPaths,
) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    append(paths, 4, started(10.0), epoch(1, 0.5))
    for part, shown in (({4: 1.4}, 1.4), ({4: 0.9}, 1.0), ({}, 1.0)):
        trials.poll(FIVE, part)
        [row] = trials.running()
        assert (row.epoch, row.progress) == (1, shown)


def test_trials_that_ended_are_told_in_the_order_of_their_ends(paths: RunPaths) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    for number, time_s in ((0, 30.0), (1, 10.0), (2, 20.0)):
        outcome = Outcome(TrialState.COMPLETE, epoch(1, 0.5))
        append(paths, number, started(1.0), Ended(time_s, outcome))
    assert [row.number for row in trials.poll(FIVE)] == [1, 2, 0]


def test_what_ended_counts_before_the_storage_says_so_and_once(paths: RunPaths) -> None:
    trials = FollowedTrials(paths, SPEC, NOTHING)
    append(paths, 0, started(1.0), ended(TrialState.PRUNED, epoch(1, 0.5)))
    append(paths, 1, started(1.0), ended(TrialState.FAILED, None))  # another takes its place
    for still_open, n_early in (((0, 1, 2), 1), ((0, 1, 2), 1), ((1, 2), 0)):
        trials.poll(standing(3, *still_open))
        assert trials.n_early == n_early
