import pytest

from sweeper.trial import Direction, EpochMetrics, Objective, TrialState
from tests.support.sweep_studies import epoch

TWO = Objective(("val_accuracy", "val_loss"), ("maximize", "minimize"))


@pytest.mark.parametrize(("direction", "chosen"), [("maximize", 2), ("minimize", 1)])
def test_the_epoch_that_counts_is_the_earliest_of_the_best(
    direction: Direction, chosen: int
) -> None:
    history = [epoch(1, 0.3), epoch(2, 0.7), epoch(3, 0.7), epoch(4, 0.3)]
    best = Objective(("val_accuracy",), (direction,)).best(history)
    assert best is history[chosen - 1]


def test_with_several_metrics_the_last_epoch_counts() -> None:
    history = [epoch(1, 0.9, val_loss=0.1), epoch(2, 0.1, val_loss=0.9)]
    assert TWO.best(history) is history[1]


def test_nothing_reported_means_no_epoch_counts() -> None:
    assert TWO.best([]) is None


def test_an_equal_epoch_is_not_better() -> None:
    objective = Objective(("val_accuracy",), ("maximize",))
    assert not objective.is_better(epoch(2, 0.5), epoch(1, 0.5))
    assert objective.is_better(epoch(2, 0.5000001), epoch(1, 0.5))
    assert objective.is_better(epoch(1, 0.0), None)


def test_an_objective_that_is_not_reported_is_a_key_error() -> None:
    objective = Objective(("val_accuracy",), ("maximize",))
    with pytest.raises(KeyError):
        objective.best([epoch(1, 0.5), EpochMetrics(2, {"other": 1.0}, 0.0)])


def test_states_are_the_words_of_the_mlflow_tag() -> None:
    assert [str(state) for state in TrialState] == [
        "waiting",
        "running",
        "complete",
        "pruned",
        "diverged",
        "failed",
    ]
