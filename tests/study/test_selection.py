"""Which trials are taken, by number."""

from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import StudyError
from sweeper.study.running_trial import RunningTrial
from sweeper.study.selection import choose_complete, require_comparable
from sweeper.study.study import SweepStudy
from tests.support.sweep_studies import (
    PRUNED,
    begin,
    begin_in_memory,
    claim_trial,
    epoch,
    raises,
    run_trial,
)

OPTIONS: dict[str, Any] = {"architecture": {"choices": {"mlp": {}, "cnn": {}}}}


def with_values(folder: Path, *values: tuple[str, float]) -> SweepStudy:
    """A study of complete trials of these architectures and accuracies, in that order."""
    enqueued = [{"model.architecture": architecture} for architecture, _ in values]
    study = begin(folder, model=OPTIONS, enqueue=enqueued, budget={"trials": len(values) + 1})
    for _, value in values:

        def body(trial: RunningTrial, value: float = value) -> None:
            trial.report(epoch(1, value))

        run_trial(study, body)
    return study


def test_the_best_of_each_architecture_come_first(tmp_path: Path) -> None:
    study = with_values(
        tmp_path, ("mlp", 0.9), ("mlp", 0.8), ("cnn", 0.1), ("mlp", 0.95), ("cnn", 0.2)
    )
    run_trial(study, PRUNED)
    assert choose_complete(study, 2) == [3, 4]
    assert choose_complete(study, 9) == [3, 4, 0, 2, 1]


def test_less_is_better_where_it_is(tmp_path: Path) -> None:
    objective = {"metric": "val_accuracy", "direction": "minimize"}
    study = begin_in_memory(tmp_path, objective=objective)
    for value in (0.5, 0.2):
        run_trial(study, lambda trial, value=value: trial.report(epoch(1, value)))  # type: ignore[misc]
    assert choose_complete(study, 1) == [1]


def test_without_a_complete_trial_there_is_none_to_take(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, budget={"trials": 2})
    run_trial(study, PRUNED)
    with pytest.raises(StudyError) as caught:
        choose_complete(study, 1)
    assert str(caught.value) == (
        "study 'small' has no complete trial (1 pruned, 1 waiting); name one that was pruned with "
        f"--trial NUMBER, or go on: sweeper run {tmp_path}/small.yaml"
    )


def test_one_that_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, budget={"trials": 3})
    run_trial(study, PRUNED)
    run_trial(study, raises(KeyError("lr")))
    claim_trial(study)
    require_comparable(study, 0)
    for number, state in ((1, "failed"), (2, "running"), (3, "waiting")):
        with pytest.raises(StudyError) as caught:
            require_comparable(study, number)
        assert str(caught.value) == (
            f"trial {number} is {state}; what can be compared is a trial that is complete, pruned "
            "or diverged"
        )
    with pytest.raises(StudyError) as caught:
        require_comparable(study, 99)
    assert str(caught.value) == (
        "study 'small' has no trial 99; its 4 trials are counted from 0: sweeper status --top 10 "
        f"{tmp_path}/small.yaml"
    )
