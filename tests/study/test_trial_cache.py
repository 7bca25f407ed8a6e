from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.config.ranges import FloatRange
from sweeper.study.trial_cache import TrialCache
from sweeper.trial import Direction, Objective
from tests.support.sweep_studies import numbers

NOON = datetime(2026, 1, 1, 12)
UNIT = FloatDistribution(0.0, 1.0)
RANGES = {"x": FloatRange(0.0, 1.0)}


class Watched(list[FrozenTrial]):
    """A list that counts the trials read from it."""

    n_read = 0

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        Watched.n_read += len(found) if isinstance(index, slice) else 1
        return found

    def __iter__(self) -> Any:
        Watched.n_read += len(self)
        return super().__iter__()


class Study(InMemoryStorage):
    """A storage of one study; trials are counted as they are read from it."""

    def __init__(
        self,
        directions: Sequence[Direction] = ("maximize",),
        ranges: Mapping[str, FloatRange] = RANGES,
    ) -> None:
        super().__init__()
        self.create_new_study([StudyDirection[direction.upper()] for direction in directions])
        objective = Objective(tuple(map(str, range(len(directions)))), tuple(directions))
        self.cache = TrialCache(self, 0, objective.signs, ranges)

    def get_all_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        return Watched(super().get_all_trials(*args, **kwargs))

    def add(
        self,
        *values: float,
        state: OptunaState = OptunaState.COMPLETE,
        minute: int | None = None,
        x: float | None = None,
    ) -> None:
        """A trial with these values; it ended in its own minute, unless another is given."""
        number = self.get_n_trials(0)
        x = min(number / 1000, 1.0) if x is None else x
        trial = optuna.trial.create_trial(
            state=state, values=values or None, params={"x": x}, distributions={"x": UNIT}
        )
        if state.is_finished():
            trial.datetime_complete = NOON + timedelta(
                minutes=number if minute is None else minute
            )
        self.create_new_trial(0, trial)


def test_a_look_tells_how_the_trials_stand() -> None:
    study = Study()
    for state in OptunaState:
        study.add(*[0.5] * (state == OptunaState.COMPLETE), state=state)
    standing = study.cache.look()
    assert (standing.n_trials, standing.n_finished, standing.n_claimed) == (5, 2, 3)
    assert [trial.state for trial in standing.running] == [OptunaState.RUNNING]
    assert [trial.state for trial in standing.waiting] == [OptunaState.WAITING]


def test_a_trial_is_followed_to_its_end() -> None:
    study = Study()
    study.add(state=OptunaState.WAITING)
    study.cache.look()
    study.set_trial_state_values(0, OptunaState.RUNNING)
    assert numbers(study.cache.look().running) == [0]
    study.set_trial_state_values(0, OptunaState.WAITING)
    assert numbers(study.cache.look().waiting) == [0]
    study.set_trial_state_values(0, OptunaState.RUNNING)
    study.set_trial_state_values(0, OptunaState.COMPLETE, [0.5])
    for _ in range(2):
        standing = study.cache.look()
        assert (standing.n_finished, standing.running, standing.waiting) == (1, [], [])
    assert numbers(study.cache.latest(9)) == [0]


@pytest.mark.parametrize("n_ended", [10, 1000])
def test_what_has_ended_is_not_read_again(n_ended: int) -> None:
    study = Study()
    for _ in range(n_ended):
        study.add(0.5)
    study.add(state=OptunaState.RUNNING)
    study.cache.look()
    study.add(0.5)
    Watched.n_read = 0
    assert study.cache.look().n_finished == n_ended + 1
    assert Watched.n_read == 2  # the one that runs, and the new one


def test_the_latest_are_those_that_ended_last_whatever_their_number() -> None:
    study = Study()
    for minute in (5, 1, 9, 3):
        study.add(0.5, minute=minute)
        study.cache.look()
    study.add(state=OptunaState.FAIL, minute=4)
    study.add(state=OptunaState.PRUNED, minute=9)
    study.cache.look()
    assert numbers(study.cache.latest(4)) == [5, 2, 0, 4]
    assert numbers(study.cache.latest(99)) == [5, 2, 0, 4, 3, 1]


def test_settings_of_others_are_tried_unless_they_failed() -> None:
    study = Study()
    study.add(0.5)  # x = 0
    study.add(state=OptunaState.FAIL)  # 0.001
    study.add(state=OptunaState.RUNNING)  # 0.002
    study.add(state=OptunaState.PRUNED)  # 0.003
    study.cache.look()
    tried = [study.cache.is_tried({"x": x}) for x in (0.0, 0.001, 0.002, 0.003, 0.004)]
    assert tried == [True, False, True, True, False]


def test_what_a_waiting_trial_was_enqueued_with_is_tried_by_no_other() -> None:
    study = Study()
    waiting = optuna.trial.create_trial(
        state=OptunaState.WAITING, system_attrs={"fixed_params": {"x": 0.7}}
    )
    study.create_new_trial(0, waiting)
    study.cache.look()
    assert study.cache.is_tried({"x": 0.7})


@pytest.mark.parametrize("state", [OptunaState.RUNNING, OptunaState.COMPLETE])
def test_a_step_is_tried_however_it_was_computed(state: OptunaState) -> None:
    study = Study(ranges={"x": FloatRange(0.0, 1.0, step=0.1)})
    study.add(*([0.5] * state.is_finished()), state=state, x=0.1 + 2 * 0.1)
    study.cache.look()
    assert study.cache.is_tried({"x": 0.3})
    assert not study.cache.is_tried({"x": 0.2})


def test_an_excerpt_has_the_best_then_the_latest_and_all_that_has_not_ended() -> None:
    study = Study()
    for value in (0.9, 0.1, 0.8, 0.2, 0.3, 0.4):
        study.add(value)
    study.add(state=OptunaState.RUNNING)
    study.add(state=OptunaState.PRUNED)
    study.add(state=OptunaState.FAIL)

    def complete(trial: FrozenTrial) -> bool:
        return trial.state == OptunaState.COMPLETE

    def finished(trial: FrozenTrial) -> bool:
        return trial.state in (OptunaState.COMPLETE, OptunaState.PRUNED)

    assert numbers(study.cache.excerpt(2, 4, complete)) == [0, 2, 4, 5, 6]
    assert numbers(study.cache.excerpt(2, 4, finished)) == [0, 2, 5, 6, 7]
    assert numbers(study.cache.excerpt(1, 99, finished)) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert numbers(study.cache.all()) == list(range(9))


def test_of_several_metrics_the_best_of_each_are_kept() -> None:
    study = Study(["maximize", "minimize"])
    for values in ((0.1, 5.0), (0.9, 6.0), (0.2, 1.0), (0.3, 4.0), (0.4, 3.0)):
        study.add(*values)
    assert numbers(study.cache.excerpt(1, 3, lambda _: True)) == [1, 2, 4]
