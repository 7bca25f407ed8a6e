from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError

from sweeper.errors import StoreError
from sweeper.study.sampler_in_use import AskingBudget
from sweeper.study.samplers.window import TrialWindow
from sweeper.study.study import SweepStudy
from tests.support.sweep_studies import (
    begin,
    begin_in_memory,
)

GP_SEES = "it sees the best 20 and the latest 180 trials: each trial more makes asking dearer"
NAMED_GP = "named in the study file; tpe draws until 10 trials are complete; "


def dear(sampler: str, asking: str = "2.0", training: str = "1.0") -> str:
    return (
        f"asking {sampler} took {asking} s a trial beside {training} s of training; it may take a "
        "second, or a tenth of training"
    )


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    study = begin_in_memory(tmp_path, sampler={"name": "auto"})
    assert study.sampler.explain()[0] == "conditional_gp"
    return study


def budget_of(study: SweepStudy, notes: list[str] | None = None) -> AskingBudget:
    return AskingBudget(study.sampler, study.cache, (notes if notes is not None else []).append)


def spend(
    budget: AskingBudget, asking_s: float, *, trials: int = 5, training_s: float = 1.0
) -> None:
    for _ in range(trials):
        budget.spend(asking_s, training_s)


@pytest.mark.parametrize(("asking_s", "training_s"), [(1.0, 0.0), (1.0, 9.0), (2.0, 20.0)])
def test_a_second_or_a_tenth_of_training_is_allowed(
    study: SweepStudy, asking_s: float, training_s: float
) -> None:
    notes: list[str] = []
    spend(budget_of(study, notes), asking_s, training_s=training_s)
    assert study.sampler.explain()[0] == "conditional_gp"
    assert notes == []


def test_more_than_both_steps_down_and_says_why_at_once(study: SweepStudy) -> None:
    notes: list[str] = []
    budget = budget_of(study, notes)
    spend(budget, 2.5, trials=4, training_s=20.0)
    assert study.sampler.explain()[0] == "conditional_gp"
    spend(budget, 2.5, trials=1, training_s=20.0)
    why = dear("conditional_gp", "2.5", "20.0")
    assert study.sampler.explain() == ("tpe", why)
    assert notes == [f"sampler tpe: {why}"]
    spend(budget, 2.0)
    assert study.sampler.explain() == ("random", dear("tpe"))
    spend(budget, 2.0)
    assert study.sampler.explain()[0] == "random"
    assert len(notes) == 2


def test_one_slow_call_does_not_count(study: SweepStudy) -> None:
    budget = budget_of(study)
    budget.spend(9.0, 1.0)
    spend(budget, 0.01, trials=4)
    assert study.sampler.explain()[0] == "conditional_gp"


@pytest.mark.parametrize(("older", "cheaper"), [("gp", "tpe"), ("tpe", "random")])
def test_what_auto_took_when_an_older_study_began_stays(
    study: SweepStudy, older: str, cheaper: str
) -> None:
    study.sampler.change(older, "a flat space")
    again = SweepStudy(study.spec, study.paths, study.storage)
    assert again.sampler.explain() == (older, "a flat space")
    spend(budget_of(again), 2.0)
    assert again.sampler.explain() == (cheaper, dear(older))


def test_what_the_old_sampler_cost_is_not_held_against_the_new_one(study: SweepStudy) -> None:
    mine, others = (
        budget_of(study),
        budget_of(study),
    )
    spend(mine, 5.0, trials=4)
    spend(others, 5.0)
    assert study.sampler.explain()[0] == "tpe"
    spend(mine, 0.01)
    assert study.sampler.explain()[0] == "tpe"


def with_history(folder: Path, sampler: str, n: int) -> SweepStudy:
    study = begin_in_memory(folder, sampler={"name": sampler}, budget={"trials": 1000})
    for _ in range(n):
        study.storage.create_new_trial(study.study_id, optuna.trial.create_trial(value=0.5))
    return study


def test_a_named_sampler_stays_and_sees_half_the_trials_it_saw(tmp_path: Path) -> None:
    study = with_history(tmp_path, "gp", 250)
    notes: list[str] = []
    budget = budget_of(study, notes)
    spend(budget, 2.0)
    why = NAMED_GP + "it sees the best 10 and the latest 90 trials: " + dear("gp")
    assert study.sampler.explain() == ("gp", why)
    assert notes == [f"sampler gp: {why}"]
    spend(budget, 2.0)
    assert study.sampler.window().n_ended == 100
    assert len(notes) == 1


def test_a_named_sampler_that_sees_little_has_its_price(tmp_path: Path) -> None:
    study = with_history(tmp_path, "gp", 100)
    spend(budget_of(study), 5.0)
    assert study.sampler.explain() == ("gp", NAMED_GP + GP_SEES)


def test_auto_moves_on_when_seeing_less_does_not_help(tmp_path: Path) -> None:
    study = with_history(tmp_path, "auto", 300)
    budget = budget_of(study)
    spend(budget, 2.0)
    assert study.sampler.window() == TrialWindow("conditional_gp", 160, dear("conditional_gp"))
    spend(budget, 2.0)
    assert study.sampler.explain() == ("tpe", dear("conditional_gp"))
    spend(budget, 2.0)
    assert study.sampler.window() == TrialWindow("tpe", 250, dear("tpe"))
    spend(budget, 2.0)
    assert study.sampler.explain() == ("random", dear("tpe"))


def test_the_price_of_seeing_more_is_not_held_against_seeing_less(tmp_path: Path) -> None:
    study = with_history(tmp_path, "tpe", 600)
    mine, others = (
        budget_of(study),
        budget_of(study),
    )
    spend(mine, 5.0, trials=4)
    spend(others, 5.0)
    assert study.sampler.window().n_ended == 300
    spend(mine, 0.01)
    assert study.sampler.window().n_ended == 300


def test_a_storage_that_fails_is_told_as_that(
    study: SweepStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageInternalError("the server restarts")

    budget = budget_of(study)
    monkeypatch.setattr(study.cache, "excerpt", fail)
    with pytest.raises(StoreError, match="the server restarts"):
        spend(budget, 2.0)


def test_all_workers_draw_with_the_sampler_that_auto_moved_to(tmp_path: Path) -> None:
    begin(tmp_path, sampler={"name": "auto"}).sampler.change("tpe", "asking gp took too long")
    again = begin(tmp_path, sampler={"name": "auto"})
    assert again.sampler.explain() == ("tpe", "asking gp took too long")
    named = begin(tmp_path, sampler={"name": "qmc"})
    assert named.sampler.explain() == ("qmc", "named in the study file")
