import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState as OptunaState

from sweeper.errors import DataError, StudyError
from sweeper.paths import RunPaths
from sweeper.study.create import create_study, load_study_from_storage
from sweeper.study.study import FAILURE_STREAK, SweepStudy
from sweeper.trial import FailureKind, TrialState
from tests.support.sweep_studies import (
    PRUNED,
    begin,
    begin_in_memory,
    claim_trial,
    epoch,
    in_processes,
    numbers,
    raises,
    reports,
    run_all,
    run_trial,
    spec_of,
)

GOOD = reports(0.5, 0.5, 0.5)
SEARCH = {"epochs": 3, "learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
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
    assert study.top_up() == 0
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
    first = study.claim("agent", "worker", but={0, 1})
    assert first is not None
    assert first.number == 2


def test_what_is_planned_comes_first_even_if_it_does_not_all_wait_at_once(tmp_path: Path) -> None:
    enqueue = [{"train.learning_rate": 0.001 + i / 1000} for i in range(40)]
    study = begin_in_memory(tmp_path, enqueue=enqueue, budget={"trials": 42})
    while claim_trial(study, "worker"):
        study.top_up()
    given = [trial.system_attrs["fixed_params"] for trial in study.trials()]
    assert given == [*enqueue, {}, {}]


class Counting:
    """A storage that counts how often it is used."""

    def __init__(self, storage: BaseStorage) -> None:
        self.n_calls = 0
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        self.n_calls += 1
        return getattr(self._storage, name)


@pytest.mark.parametrize(
    ("sampler", "pruner"), [("random", "none"), ("tpe", "asha"), ("qmc", "median")]
)
def test_a_trial_uses_the_storage_as_often_late_as_early(
    tmp_path: Path, sampler: str, pruner: str
) -> None:
    changes = {"sampler": {"name": sampler}, "pruner": {"name": pruner}}
    begun = begin_in_memory(tmp_path, budget={"trials": 200}, **changes)
    storage: Any = Counting(begun.storage)
    study = SweepStudy(begun.spec, begun.paths, storage)
    n_calls = []
    for i in range(64):
        before = storage.n_calls
        assert not study.is_over(())
        run_trial(study, reports(0.01 * i, 0.01 * i, 0.01 * i))
        n_calls.append(storage.n_calls - before)
    # Trial 32 fills the storage up again.
    assert set(n_calls[20:32]) == set(n_calls[40:])
    assert max(n_calls[20:32]) < 50


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


def test_the_first_fingerprint_of_the_same_data_counts(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    study.settle_fingerprint("moons, noise 0.1", "aa")
    study.settle_fingerprint("moons, noise 0.1", "aa")
    study.settle_fingerprint("moons, noise 0.3", "bb")
    with pytest.raises(DataError, match=r"have fingerprint cc, but earlier trials .* had aa; "):
        study.settle_fingerprint("moons, noise 0.1", "cc")


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


def test_a_trial_that_waits_again_is_the_same_one(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_trial(study, GOOD, is_stopping=lambda: True)
    before = study.trials()[0]
    again = claim_trial(study, "another")
    assert again is not None
    assert (again.number, again.params) == (0, before.params)
    assert again.intermediate_values == {1: 0.5}
    assert again.user_attrs["sweeper.resumed"] == 1
    study.put_back(0)
    assert study.trials()[0].user_attrs["sweeper.resumed"] == 2


def test_the_best_trial_is_complete_and_best_in_the_studys_direction(tmp_path: Path) -> None:
    for direction, best in (("maximize", 2), ("minimize", 1)):
        objective = {"metric": "val_accuracy", "direction": direction}
        study = begin_in_memory(tmp_path, objective=objective)
        assert study.best_trial() is None
        run_trial(study, PRUNED)
        assert study.best_trial() is None
        for value in (0.3, 0.8, 0.5):
            run_trial(study, reports(value))
        found = study.best_trial()
        assert found is not None
        assert found.number == best


def fail_with(study: SweepStudy, *messages: str) -> None:
    for message in messages:
        run_trial(study, raises(RuntimeError(message)))


def test_ten_failures_in_a_row_of_one_cause_are_a_streak(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    run_trial(study, GOOD)
    fail_with(study, *[f"too slow: {n} MiB" for n in range(FAILURE_STREAK - 1)])
    assert study.failure_streak(()) is None
    assert not study.is_over(())
    fail_with(study, "too slow: 4096 MiB")
    assert study.is_over(())
    assert not study.is_over(study.failed())
    assert study.failure_streak(()) == "RuntimeError: too slow: 4096 MiB"


def test_failures_of_mixed_causes_are_no_streak(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    fail_with(study, *["a"] * 9, "b")
    assert study.failure_streak(()) is None


def test_a_trial_that_went_well_breaks_a_streak(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    fail_with(study, *["a"] * 9)
    run_trial(study, GOOD)
    fail_with(study, "a")
    assert study.failure_streak(()) is None
    diverged = begin_in_memory(tmp_path / "diverged", budget={"trials": 12})
    for _ in range(FAILURE_STREAK):
        run_trial(diverged, lambda claim: claim.report(epoch(1, float("nan"))))
    assert diverged.failure_streak(()) is None


def test_failures_of_an_earlier_run_are_forgiven(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    fail_with(study, *["a"] * FAILURE_STREAK)
    assert study.failure_streak(study.failed()) is None
    assert study.failure_streak(()) == "RuntimeError: a"


def test_a_changed_search_is_refused_with_what_changed(tmp_path: Path) -> None:
    begin(tmp_path)
    changes = {
        "data": {"name": "digits", "batch_size": 32},
        "model": {"architecture": {"choices": ["mlp", "cnn"]}},
        "train": {**SEARCH, "learning_rate": {"low": 0.001, "high": 0.5, "log": True}},
    }
    with pytest.raises(StudyError) as caught:
        begin(tmp_path, **changes)
    assert str(caught.value) == "\n".join(
        [
            f"{tmp_path}/small.yaml: the search has changed since study 'small' began:",
            "  data.batch_size: was 64, is 32",
            '  model.architecture: was "mlp", is {"choices": ["mlp", "cnn"]}',
            '  train.learning_rate: was {"low": 0.001, "high": 0.1, "log": true}, '
            'is {"low": 0.001, "high": 0.5, "log": true}',
            "Trials before and after would not compare. Change it back, or give the file a new "
            "`name:`; budget, sampler, pruner, run and tracking may change freely.",
        ]
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seed": 8}, "  seed: was 7, is 8"),
        (
            {"train": {**SEARCH, "momentum": {"low": 0.5, "high": 0.9}}},
            '  train.momentum: was 0.9, is {"low": 0.5, "high": 0.9}',
        ),
        ({"train": {**SEARCH, "patience": 2}}, "  train.patience: was absent, is 2"),
        (
            {"forbid": [{"train.learning_rate": 0.05}]},
            '  forbid: was [], is [{"train.learning_rate": 0.05}]',
        ),
        (
            {"objective": {"metric": "val_loss", "direction": "minimize"}},
            '  objective.metric: was ["val_accuracy"], is ["val_loss"]',
        ),
    ],
)
def test_whatever_decides_what_a_trial_means_is_frozen(
    tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    begin(tmp_path)
    with pytest.raises(StudyError) as caught:
        begin(tmp_path, **changes)
    assert line in str(caught.value).splitlines()


def test_all_that_does_not_change_what_a_trial_means_may_change(tmp_path: Path) -> None:
    begin(tmp_path)
    study = begin(
        tmp_path,
        budget={"trials": 12, "timeout": "2h"},
        sampler={"name": "tpe"},
        pruner={"name": "median"},
        run={"workers": 3, "device": "cpu"},
        tracking={"log_models": "none"},
        enqueue=[{"train.learning_rate": 0.05}],
        train={"learning_rate": SEARCH["learning_rate"], "momentum": 0.9, "epochs": 3},
    )
    assert study.counts() == {TrialState.WAITING: 12}


def test_another_storage_does_not_take_a_folders_trials_for_its_own(tmp_path: Path) -> None:
    run_trial(begin(tmp_path), reports(0.5))
    elsewhere = {"storage": f"sqlite:///{tmp_path}/optuna.db", "run": {"workers": 1}}
    with pytest.raises(StudyError, match="small.yaml:22: storage: it does not hold the study wh"):
        begin(tmp_path, **elsewhere)
    assert begin(tmp_path).counts()[TrialState.COMPLETE] == 1
    run_trial(begin(tmp_path / "other", **elsewhere), reports(0.5))  # which has trial 0, too
    with pytest.raises(StudyError, match=r"was `storage` changed, or emptied"):
        begin(tmp_path, **elsewhere)


def test_a_storage_that_was_brought_back_does_not_give_a_number_twice(tmp_path: Path) -> None:
    study = begin(tmp_path)
    run_trial(study, reports(0.5))
    backup = study.paths.journal.read_bytes()
    run_trial(study, reports(0.6))
    study.paths.journal.write_bytes(backup)
    with pytest.raises(StudyError, match="brought back to an earlier state"):
        begin(tmp_path)
    shutil.rmtree(study.paths.trial_dir(1))
    assert begin(tmp_path).counts()[TrialState.COMPLETE] == 1


def test_a_storage_that_moved_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "optuna.db"
    run_trial(begin(tmp_path, storage=f"sqlite:///{file}", run={"workers": 1}), reports(0.5))
    moved = file.rename(tmp_path / "moved.db")
    study = begin(tmp_path, storage=f"sqlite:///{moved}", run={"workers": 1})
    assert study.counts()[TrialState.COMPLETE] == 1


def test_all_workers_draw_with_the_sampler_that_auto_moved_to(tmp_path: Path) -> None:
    begin(tmp_path, sampler={"name": "auto"}).use_sampler("tpe", "asking gp took too long")
    again = begin(tmp_path, sampler={"name": "auto"})
    assert again.sampler() == ("tpe", "asking gp took too long")
    named = begin(tmp_path, sampler={"name": "qmc"})
    assert named.sampler() == ("qmc", "named in the study file")


def test_a_study_that_has_not_begun_is_not_created_by_looking(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    paths = RunPaths(tmp_path / "mlruns", spec.name)
    assert load_study_from_storage(spec, paths) is None
    assert list(tmp_path.iterdir()) == []
    create_study(spec, paths)
    found = load_study_from_storage(spec, paths)
    assert found is not None
    assert found.counts() == {}


def create(_: int, folder: Path) -> None:
    begin(folder)


def test_processes_that_begin_a_study_at_once_begin_one(tmp_path: Path) -> None:
    in_processes(3, create, tmp_path)
    assert numbers(begin(tmp_path).trials()) == list(range(10))
