import logging
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
DEAR_TPE = "asking tpe took 200 ms a trial beside 1000 ms of training, more than a tenth"


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    """A flat space, so ``auto`` begins with gp."""
    study = begin_in_memory(tmp_path, sampler={"name": "auto"})
    assert study.sampler.explain()[0] == "gp"
    return study


def budget_of(study: SweepStudy) -> AskingBudget:
    return AskingBudget(study.sampler, study.cache)


def spend(budget: AskingBudget, asking_s: float, *, trials: int = 5) -> None:
    for _ in range(trials):
        budget.spend(asking_s, 1.0)


def test_a_tenth_of_training_is_allowed(study: SweepStudy) -> None:
    spend(budget_of(study), 0.1)
    assert study.sampler.explain()[0] == "gp"


def test_more_than_a_tenth_steps_down_and_says_why(study: SweepStudy) -> None:
    budget = budget_of(study)
    spend(budget, 0.11, trials=4)
    assert study.sampler.explain()[0] == "gp"
    spend(budget, 0.11, trials=1)
    assert study.sampler.explain() == (
        "tpe",
        "asking gp took 110 ms a trial beside 1000 ms of training, more than a tenth",
    )
    spend(budget, 0.2)
    assert study.sampler.explain()[0] == "random"
    spend(budget, 0.2)
    assert study.sampler.explain()[0] == "random"


def test_one_slow_call_does_not_count(study: SweepStudy) -> None:
    budget = budget_of(study)
    budget.spend(9.0, 1.0)
    spend(budget, 0.01, trials=4)
    assert study.sampler.explain()[0] == "gp"


def test_what_the_old_sampler_cost_is_not_held_against_the_new_one(study: SweepStudy) -> None:
    mine, others = (
        budget_of(study),
        budget_of(study),
    )
    spend(mine, 0.5, trials=4)
    spend(others, 0.5)
    assert study.sampler.explain()[0] == "tpe"
    spend(mine, 0.01)
    assert study.sampler.explain()[0] == "tpe"


def with_history(folder: Path, sampler: str, n: int) -> SweepStudy:
    study = begin_in_memory(folder, sampler={"name": sampler}, budget={"trials": 1000})
    for _ in range(n):
        study.storage.create_new_trial(study.study_id, optuna.trial.create_trial(value=0.5))
    return study


def test_a_named_sampler_stays_and_sees_half_the_trials_it_saw(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = with_history(tmp_path, "gp", 250)
    budget = budget_of(study)
    with caplog.at_level(logging.WARNING, logger="sweeper"):
        spend(budget, 0.2)
    why = (
        "named in the study file; it sees the best 10 and the latest 90 trials: asking gp took "
        "200 ms a trial beside 1000 ms of training, more than a tenth"
    )
    assert study.sampler.explain() == ("gp", why)
    assert caplog.messages == [f"sampler gp: {why}"]
    spend(budget, 0.2)
    assert study.sampler.window().n_ended == 100


def test_a_named_sampler_that_sees_little_has_its_price(tmp_path: Path) -> None:
    study = with_history(tmp_path, "gp", 100)
    spend(budget_of(study), 5.0)
    assert study.sampler.explain() == ("gp", "named in the study file; " + GP_SEES)


def test_auto_gives_tpe_up_when_seeing_less_does_not_help(tmp_path: Path) -> None:
    study = with_history(tmp_path, "auto", 300)
    assert study.sampler.explain()[0] == "tpe"
    budget = budget_of(study)
    spend(budget, 0.2)
    assert study.sampler.window() == TrialWindow("tpe", 250, DEAR_TPE)
    spend(budget, 0.2)
    assert study.sampler.explain() == ("random", DEAR_TPE)


def test_the_price_of_seeing_more_is_not_held_against_seeing_less(tmp_path: Path) -> None:
    study = with_history(tmp_path, "tpe", 600)
    mine, others = (
        budget_of(study),
        budget_of(study),
    )
    spend(mine, 0.5, trials=4)
    spend(others, 0.5)
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
        spend(budget, 0.5)


def test_all_workers_draw_with_the_sampler_that_auto_moved_to(tmp_path: Path) -> None:
    begin(tmp_path, sampler={"name": "auto"}).sampler.change("tpe", "asking gp took too long")
    again = begin(tmp_path, sampler={"name": "auto"})
    assert again.sampler.explain() == ("tpe", "asking gp took too long")
    named = begin(tmp_path, sampler={"name": "qmc"})
    assert named.sampler.explain() == ("qmc", "named in the study file")
