from collections.abc import Mapping
from datetime import datetime, timedelta

import optuna
import pytest
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.study.time_left import TrialLengths
from sweeper.study.trial_cache import Standing

BEGUN = datetime(2026, 1, 1)
NOW = BEGUN + timedelta(seconds=100)


def trial(
    number: int, seconds: float, state: OptunaState = OptunaState.COMPLETE, n_epochs: int = 0
) -> FrozenTrial:
    """One that took so long, or began so long ago, and reported so many epochs."""
    is_over = state.is_finished()
    begun = BEGUN if is_over else NOW - timedelta(seconds=seconds)
    made = optuna.trial.create_trial(
        state=state,
        value=0.5 if state == OptunaState.COMPLETE else None,
        intermediate_values=dict.fromkeys(range(1, n_epochs + 1), 0.5),
    )
    made.number = number
    made.datetime_start = begun
    made.datetime_complete = begun + timedelta(seconds=seconds) if is_over else None
    return made


def left(
    ended: list[FrozenTrial],
    running: list[FrozenTrial],
    *,
    goal: int,
    n_workers: int = 1,
    n_epochs: int | None = None,
    epochs: Mapping[int, float] | None = None,
) -> float | None:
    n_finished = sum(trial.state != OptunaState.FAIL for trial in ended)
    standing = Standing(len(ended) + len(running), n_finished, [], running)
    lengths = TrialLengths(ended, n_epochs, epochs or {}, NOW)
    return lengths.seconds_left(standing, goal=goal, n_workers=n_workers)


RUNNING = OptunaState.RUNNING


def test_before_a_trial_has_ended_nobody_knows() -> None:
    assert left([], [trial(0, 5.0, RUNNING)], goal=10) is None
    assert left([trial(0, 5.0, OptunaState.FAIL)], [], goal=10) is None


@pytest.mark.parametrize(("n_workers", "seconds"), [(1, 80.0), (2, 40.0), (4, 20.0)])
def test_what_is_to_come_takes_the_mean_and_all_workers_share_it(
    n_workers: int, seconds: float
) -> None:
    ended = [trial(0, 5.0), trial(1, 15.0)]
    assert left(ended, [], goal=10, n_workers=n_workers) == seconds


def test_what_failed_took_time_too() -> None:
    assert left([trial(0, 5.0), trial(1, 15.0, OptunaState.FAIL)], [], goal=3) == 40.0


@pytest.mark.parametrize("epochs", [{}, {1: 2.0}])
def test_a_running_trial_goes_on_at_its_own_pace(epochs: Mapping[int, float]) -> None:
    # 2 of 10 epochs took 20 s, so it is to take 100; the mean of 20 and 100 is 60.
    ended, running = [trial(0, 20.0, n_epochs=10)], [trial(1, 20.0, RUNNING, n_epochs=2)]
    assert left(ended, running, goal=2, n_epochs=10, epochs=epochs) == 80.0
    assert left(ended, running, goal=4, n_epochs=10, epochs=epochs) == 80.0 + 2 * 60.0


def test_the_part_of_an_epoch_counts_behind_the_first() -> None:
    ended, running = [trial(0, 20.0, n_epochs=10)], [trial(1, 20.0, RUNNING)]
    assert left(ended, running, goal=2, n_epochs=10, epochs={1: 2.5}) == 60.0
    # 0.1 of an epoch in 3 s, most of which went into loading data, is not 300 s a trial.
    running = [trial(1, 3.0, RUNNING)]
    assert left(ended, running, goal=2, n_epochs=10, epochs={1: 0.1}) == 17.0
    assert left(ended, running, goal=2, n_epochs=10, epochs={1: 0.9}) == 17.0


def test_it_is_expected_to_end_where_those_that_came_as_far_did() -> None:
    pruned = OptunaState.PRUNED
    ended = [
        trial(0, 1.0, pruned, n_epochs=1),
        trial(1, 4.0, pruned, n_epochs=4),
        trial(2, 10.0, n_epochs=10),
    ]
    # Of those that came beyond epoch 2, the mean end is epoch 7.
    assert left(
        ended, [trial(3, 20.0, RUNNING, n_epochs=2)], goal=4, n_epochs=10
    ) == pytest.approx(50.0)


def test_without_epochs_it_ends_like_those_that_took_longer() -> None:
    ended = [trial(0, 5.0), trial(1, 15.0), trial(2, 25.0)]
    assert left(ended, [trial(3, 10.0, RUNNING)], goal=4) == 10.0
    assert left(ended, [trial(3, 40.0, RUNNING)], goal=4) == 40.0


def test_the_last_trials_have_a_worker_each() -> None:
    ended, running = [trial(0, 20.0)], [trial(1, 5.0, RUNNING), trial(2, 15.0, RUNNING)]
    assert left(ended, running, goal=3, n_workers=8) == 15.0
