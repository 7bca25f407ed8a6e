from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState as OptunaState

from sweeper.locks import FileLock
from sweeper.study.attributes import Attr, Owner
from sweeper.study.queue import Plan, TrialQueue
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.study.trial_cache import TrialCache
from sweeper.trial import FailureKind, TrialState
from tests.support.disk_calls import note_disk_calls
from tests.support.sweep_studies import (
    PRUNED,
    begin,
    begin_in_memory,
    claim_trial,
    raises,
    reports,
    run_all,
    run_claimed,
    run_trial,
    spec_of,
)

GOOD = reports(0.5, 0.5, 0.5)
GRID: dict[str, Any] = {
    "sampler": {"name": "grid"},
    "data": {"name": "digits", "batch_size": {"low": 16, "high": 64, "step": 16}},
    "train": {"epochs": 1, "optimizer": {"choices": ["sgd", "adamw"]}},
    "forbid": [{"train.optimizer": "sgd", "data.batch_size": 64}],
}
ALL_POINTS = {(size, opt) for size in (16, 32, 48, 64) for opt in ("sgd", "adamw")} - {(64, "sgd")}


def points(study: SweepStudy) -> list[tuple[Any, Any]]:
    return [
        (trial.params["data.batch_size"], trial.params["train.optimizer"])
        for trial in study.trials((OptunaState.COMPLETE,))
    ]


def test_as_many_trials_wait_as_are_wanted(tmp_path: Path) -> None:
    study = begin(tmp_path)
    assert study.counts() == {TrialState.WAITING: 10}
    assert study.queue.top_up() == 0
    assert begin(tmp_path).counts() == {TrialState.WAITING: 10}


def test_a_few_trials_wait_however_many_are_wanted(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, budget={"trials": 70})
    assert study.counts() == {TrialState.WAITING: 32}
    claimed = [claim_trial(study, "worker") for _ in range(71)]
    assert [trial.number for trial in claimed if trial] == list(range(70))
    assert study.counts() == {TrialState.RUNNING: 70}


def test_trials_that_want_the_device_alone_keep_no_others_waiting(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, budget={"trials": 34})
    for trial in study.trials():
        retries = {FailureKind.OUT_OF_MEMORY: (1, 0, 1)}
        study.storage.set_trial_user_attr(trial._trial_id, "sweeper.retries", retries)
    claimed = [claim_trial(study, "worker") for _ in range(3)]
    assert [trial and trial.number for trial in claimed] == [32, 33, None]
    assert claim_trial(study, "worker", alone=True)
    assert len(study.trials()) == 34


def test_trials_that_are_left_to_others_are_not_claimed(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    [first] = study.queue.claim("agent", "worker", n=1, but={0, 1})
    assert first.number == 2


def test_what_is_planned_comes_first_even_if_it_does_not_all_wait_at_once(tmp_path: Path) -> None:
    enqueue = [{"train.learning_rate": 0.001 + i / 1000} for i in range(40)]
    study = begin_in_memory(tmp_path, enqueue=enqueue, budget={"trials": 42})
    while claim_trial(study, "worker"):
        study.queue.top_up()
    given = [trial.system_attrs["fixed_params"] for trial in study.trials()]
    assert given == [*enqueue, {}, {}]


def test_nothing_is_claimed_that_does_not_wait(tmp_path: Path) -> None:
    study = begin(tmp_path, budget={"trials": 2})
    claimed = [claim_trial(study, "worker") for _ in range(3)]
    assert claimed[2] is None
    assert [trial.number for trial in claimed if trial] == [0, 1]
    assert len(study.trials()) == 2


def test_failures_are_replaced_and_do_not_count(tmp_path: Path) -> None:
    study = begin(tmp_path, budget={"trials": 5})
    ends: Iterator[Any] = iter([GOOD, raises(KeyError("x")), PRUNED, raises(OSError("y"))])
    run_all(study, lambda claim: next(ends, GOOD)(claim))
    assert study.counts() == {
        TrialState.COMPLETE: 4,
        TrialState.PRUNED: 1,
        TrialState.FAILED: 2,
    }
    assert study.n_finished() == 5


def test_a_raised_budget_tops_up_and_a_lowered_one_leaves_trials_waiting(tmp_path: Path) -> None:
    run_trial(begin(tmp_path, budget={"trials": 3}), GOOD)
    raised = begin(tmp_path, budget={"trials": 5})
    assert raised.counts() == {TrialState.COMPLETE: 1, TrialState.WAITING: 4}
    lowered = begin(tmp_path, budget={"trials": 2})
    run_all(lowered, GOOD)
    assert lowered.counts() == {TrialState.COMPLETE: 2, TrialState.WAITING: 3}
    assert claim_trial(lowered, "worker") is None


def test_running_trials_count_towards_a_lowered_budget(tmp_path: Path) -> None:
    before = begin(tmp_path)
    assert claim_trial(before, "a")
    assert claim_trial(before, "b")
    assert claim_trial(begin(tmp_path, budget={"trials": 2}), "c") is None


def test_a_grid_tries_each_allowed_point_exactly_once(tmp_path: Path) -> None:
    study = begin(tmp_path, budget={"trials": 50}, **GRID)
    assert study.goal == 7
    begin(tmp_path, budget={"trials": 50}, **GRID)
    run_all(study, reports(0.5))
    assert len(points(study)) == 7
    assert set(points(study)) == ALL_POINTS


def test_a_grid_of_more_points_than_wait_at_once_is_tried_whole(tmp_path: Path) -> None:
    batch_size = {"low": 1, "high": 40}
    study = begin_in_memory(
        tmp_path,
        sampler={"name": "grid"},
        data={"name": "digits", "batch_size": batch_size},
        train={"epochs": 1, "learning_rate": 0.01},
        budget={"trials": 39},
    )
    run_trial(study, raises(OSError("the disk was full")))
    run_all(study, reports(0.5))
    done = [trial.params["data.batch_size"] for trial in study.trials((OptunaState.COMPLETE,))]
    assert sorted(done) == list(range(1, 40))


def test_a_grid_ends_at_its_budget_and_goes_on_with_the_rest(tmp_path: Path) -> None:
    study = begin(tmp_path, budget={"trials": 3}, **GRID)
    assert study.goal == 3
    run_all(study, reports(0.5))
    raised = begin(tmp_path, budget={"trials": 50}, **GRID)
    run_all(raised, reports(0.5))
    assert sorted(points(raised)) == sorted(ALL_POINTS)


def test_a_grid_point_that_failed_is_tried_again(tmp_path: Path) -> None:
    study = begin(tmp_path, budget={"trials": 50}, **GRID)
    run_trial(study, raises(OSError("the disk was full")))
    first, *_, last = study.trials()
    assert last.system_attrs == first.system_attrs
    run_all(study, reports(0.5))
    assert sorted(points(study)) == sorted(ALL_POINTS)


def test_a_grid_does_not_repeat_what_another_sampler_drew_before(tmp_path: Path) -> None:
    drawn = begin(tmp_path, budget={"trials": 3}, **{**GRID, "sampler": {"name": "random"}})
    run_all(drawn, reports(0.5))
    study = begin(tmp_path, budget={"trials": 50}, **GRID)
    run_all(study, reports(0.5))
    assert sorted(points(study)) == sorted(ALL_POINTS)


def test_a_grid_goes_round_again_if_duplicates_are_reseeded(tmp_path: Path) -> None:
    sampler = {"name": "grid", "duplicates": "reseed"}
    study = begin(tmp_path, budget={"trials": 16}, **{**GRID, "sampler": sampler})
    run_trial(study, raises(OSError("the disk was full")))
    run_all(study, reports(0.5))
    tried = Counter(points(study))
    assert tried.keys() == ALL_POINTS
    assert sorted(tried.values()) == [2, 2, 2, 2, 2, 3, 3]


def test_enqueued_settings_are_tried_first_and_once(tmp_path: Path) -> None:
    enqueue = [{"train.learning_rate": 0.05}, {"train.learning_rate": 0.002}]
    study = begin(tmp_path, enqueue=enqueue, budget={"trials": 4})
    begin(tmp_path, enqueue=enqueue, budget={"trials": 4})
    run_trial(study, raises(ValueError("this setting never works")))
    run_all(study, GOOD)
    rates = [trial.params["train.learning_rate"] for trial in study.trials()]
    assert rates[:2] == [0.05, 0.002]
    assert rates.count(0.05) == 1
    assert len(rates) == 5


def test_settings_enqueued_later_go_to_trials_that_wait_for_nothing_special(
    tmp_path: Path,
) -> None:
    begin(tmp_path, enqueue=[{"train.learning_rate": 0.05}], budget={"trials": 3})
    later = [{"train.learning_rate": 0.05}, {"train.learning_rate": 0.002}]
    study = begin(tmp_path, enqueue=later, budget={"trials": 3})
    given = [trial.system_attrs["fixed_params"] for trial in study.trials()]
    assert given == [*later, {}]


def test_what_an_enqueued_setting_leaves_out_is_drawn(tmp_path: Path) -> None:
    study = begin(
        tmp_path,
        data={"name": "digits", "batch_size": {"choices": [32, 64]}},
        enqueue=[{"data.batch_size": 64}],
    )
    run_trial(study, GOOD)
    params = study.trials()[0].params
    assert params.keys() == {"data.batch_size", "train.learning_rate"}
    assert params["data.batch_size"] == 64


def test_a_setting_that_failed_is_wanted_again_and_no_other_repeated_for_it(
    tmp_path: Path,
) -> None:
    study = begin_in_memory(tmp_path, train={"optimizer": {"choices": ["sgd", "adamw"]}})

    def body(claim: RunningTrial) -> None:
        if study.trials()[claim.number].params["train.optimizer"] == "sgd":
            raise MemoryError("too big")
        GOOD(claim)

    for _ in range(7):
        trial = claim_trial(study) or claim_trial(study, alone=True)
        assert trial is not None
        run_claimed(study, trial, body)
    ended = [trial for trial in study.trials() if trial.state.is_finished()]
    ends = Counter((trial.params["train.optimizer"], trial.state.name) for trial in ended)
    assert ends == {("adamw", "COMPLETE"): 1, ("sgd", "FAIL"): 3}
    assert study.n_finished() < study.goal


def bare_queue(folder: Path, storage: InMemoryStorage, goal: int) -> TrialQueue:
    study_id = storage.create_new_study([StudyDirection.MAXIMIZE], "bare")
    cache = TrialCache(storage, study_id, [-1], {})
    plan = Plan(spec_of(folder), goal)
    lock = FileLock(folder / "lock")
    return TrialQueue(storage, study_id, plan=plan, cache=cache, lock=lock)


def test_a_queue_needs_no_study_and_leaves_the_trials_to_whoever_counts_them(
    tmp_path: Path,
) -> None:
    queue = bare_queue(tmp_path, InMemoryStorage(), goal=2)
    with FileLock(tmp_path / "lock").held():
        assert queue.top_up() == 0
    assert queue.top_up() == 2
    claimed = [queue.claim("agent", "worker", n=1) for _ in range(3)]
    assert [[trial.number for trial in each] for each in claimed] == [[0], [1], []]


class LookedOn(InMemoryStorage):
    """Notes, whenever a trial is enqueued or claimed, whether somebody holds the lock."""

    def __init__(self, lock: Path) -> None:
        super().__init__()
        self.lock = lock
        self.was_held: list[bool] = []

    def _look(self) -> None:
        with FileLock(self.lock).tried() as is_free:
            self.was_held.append(not is_free)

    def create_new_trial(self, *args: Any, **kwargs: Any) -> int:
        self._look()
        return int(super().create_new_trial(*args, **kwargs))

    def set_trial_state_values(self, *args: Any, **kwargs: Any) -> bool:
        self._look()
        return bool(super().set_trial_state_values(*args, **kwargs))


def test_trials_are_enqueued_and_claimed_by_one_process_at_a_time(tmp_path: Path) -> None:
    storage = LookedOn(tmp_path / "lock")
    queue = bare_queue(tmp_path, storage, goal=34)
    queue.top_up()
    for _ in range(34):
        assert queue.claim("agent", "worker", n=1)
    assert storage.was_held == [True] * 68


class Overtaken(InMemoryStorage):
    """Of one where the lock is lost by who stands still with it: another takes trial 0 first.

    Args:
        state: In which that one leaves the trial.
    """

    def __init__(self, state: OptunaState) -> None:
        super().__init__()
        self.state: OptunaState | None = state

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        if self.state is not None:
            state, self.state = self.state, None
            super().set_trial_user_attr(trial_id, key, ["another", "its-worker", 1])
            super().set_trial_state_values(trial_id, OptunaState.RUNNING)
            super().set_trial_state_values(trial_id, state)
        super().set_trial_user_attr(trial_id, key, value)


def test_of_two_who_claim_the_same_one_it_is_whose_name_stands_there_last(tmp_path: Path) -> None:
    storage = Overtaken(OptunaState.RUNNING)
    queue = bare_queue(tmp_path, storage, goal=3)
    queue.top_up()
    claimed = queue.claim("agent", "worker", n=2)
    assert [trial.number for trial in claimed] == [0, 1]
    owners = [Owner.of(trial) for trial in storage.get_all_trials(0)[:2]]
    assert owners == [("agent", "worker", 1)] * 2  # the other one will find that


class TakenOver(InMemoryStorage):
    """Of one where another takes trial 0 over as soon as it was claimed."""

    def set_trial_state_values(self, trial_id: int, *args: Any, **kwargs: Any) -> bool:
        is_done = super().set_trial_state_values(trial_id, *args, **kwargs)
        if trial_id == 0:
            self.set_trial_user_attr(trial_id, Attr.OWNER, ["another", "its-worker", 2])
        return is_done


def test_what_another_has_taken_over_meanwhile_is_not_claimed(tmp_path: Path) -> None:
    queue = bare_queue(tmp_path, TakenOver(), goal=3)
    queue.top_up()
    claimed = queue.claim("agent", "worker", n=2)
    assert [trial.number for trial in claimed] == [1]


def test_what_another_has_ended_meanwhile_is_not_claimed(tmp_path: Path) -> None:
    queue = bare_queue(tmp_path, Overtaken(OptunaState.FAIL), goal=3)
    queue.top_up()
    assert queue.claim("agent", "worker", n=1) == []
    claimed = queue.claim("agent", "worker", n=9)
    assert [trial.number for trial in claimed] == [1, 2, 3]


def test_several_are_claimed_in_one_visit_and_as_many_enqueued_as_that_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = begin(tmp_path, budget={"trials": 60})
    first = study.queue.claim("agent", "worker", n=20, but={3})
    assert [trial.number for trial in first] == [*range(3), *range(4, 21)]
    done = note_disk_calls(monkeypatch)
    second = study.queue.claim("agent", "worker", n=10)
    assert [trial.number for trial in second] == [3, *range(21, 30)]
    assert done == [("fsync", study.paths.journal)]
    third = study.queue.claim("agent", "worker", n=99)
    assert [trial.number for trial in third] == list(range(30, 60))
    assert study.queue.claim("agent", "worker", n=1) == []
    assert study.counts() == {TrialState.RUNNING: 60}
    assert {Owner.of(trial) for trial in study.trials()} == {("agent", "worker", 1)}
