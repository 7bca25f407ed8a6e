from pathlib import Path

import pytest
from sweep_studies import begin_in_memory

from sweeper.asking import AskingBudget
from sweeper.study import SweepStudy


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    """A flat space, so ``auto`` begins with gp."""
    study = begin_in_memory(tmp_path, sampler={"name": "auto"})
    assert study.sampler()[0] == "gp"
    return study


def spend(budget: AskingBudget, asking_s: float, *, trials: int = 5) -> None:
    for _ in range(trials):
        budget.spend(asking_s, 1.0)


def test_a_tenth_of_training_is_allowed(study: SweepStudy) -> None:
    spend(AskingBudget(study), 0.1)
    assert study.sampler()[0] == "gp"


def test_more_than_a_tenth_steps_down_and_says_why(study: SweepStudy) -> None:
    budget = AskingBudget(study)
    spend(budget, 0.11, trials=4)
    assert study.sampler()[0] == "gp"
    spend(budget, 0.11, trials=1)
    assert study.sampler() == (
        "tpe",
        "asking gp took 110 ms a trial beside 1000 ms of training, more than a tenth",
    )
    spend(budget, 0.2)
    assert study.sampler()[0] == "random"
    spend(budget, 0.2)
    assert study.sampler()[0] == "random"


def test_one_slow_call_does_not_count(study: SweepStudy) -> None:
    budget = AskingBudget(study)
    budget.spend(9.0, 1.0)
    spend(budget, 0.01, trials=4)
    assert study.sampler()[0] == "gp"


def test_what_the_old_sampler_cost_is_not_held_against_the_new_one(study: SweepStudy) -> None:
    mine, others = AskingBudget(study), AskingBudget(study)
    spend(mine, 0.5, trials=4)
    spend(others, 0.5)
    assert study.sampler()[0] == "tpe"
    spend(mine, 0.01)
    assert study.sampler()[0] == "tpe"


def test_a_sampler_named_in_the_file_stays(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, sampler={"name": "gp"})
    spend(AskingBudget(study), 5.0)
    assert study.sampler() == ("gp", "named in the study file")
