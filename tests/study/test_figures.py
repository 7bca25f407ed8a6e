from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import StudyError
from sweeper.study.result import Result
from sweeper.study.running_trial import RunningTrial
from tests.support.sweep_studies import (
    CONDITIONAL,
    PRUNED,
    begin_in_memory,
    epoch,
    reports,
    run_trial,
)

RATE, L2 = {"low": 0.001, "high": 0.1, "log": True}, {"low": 0.0, "high": 1.0}


def lines_and_axes(parallel: Any) -> tuple[int, list[str]]:
    """How many trials such a figure shows, and what its axes are called."""
    *lines, _ = parallel.data  # the last is the scale of colours
    return len(lines), list(parallel.layout.xaxis.ticktext)


def test_each_figure_shows_the_complete_trials(tmp_path: Path) -> None:
    train = {"epochs": 3, "learning_rate": RATE, "l2": L2}
    study = begin_in_memory(tmp_path, train=train, budget={"trials": 8})
    for accuracy in (0.5, 0.25, 0.75, 0.6):
        run_trial(study, reports(accuracy))
    run_trial(study, PRUNED)
    plot = Result(study).plot
    values, best, _ = plot.history().data
    assert list(values.y) == [0.5, 0.25, 0.75, 0.6]
    assert list(best.y)[:4] == [0.5, 0.5, 0.75, 0.75]
    [bars] = plot.importance().data
    assert set(bars.y) == {"train.learning_rate", "train.l2"}
    assert sum(bars.x) == pytest.approx(1)
    assert lines_and_axes(plot.parallel()) == (
        4,
        ["val_accuracy", "train.l2", "train.learning_rate"],
    )


def test_of_a_conditional_space_the_figures_have_what_all_trials_have(tmp_path: Path) -> None:
    study = begin_in_memory(
        tmp_path, model=CONDITIONAL, train={"learning_rate": RATE}, budget={"trials": 12}
    )
    for number in range(12):
        run_trial(study, reports(number / 12))
    plot = Result(study).plot
    [bars] = plot.importance().data
    assert set(bars.y) == {"model.architecture", "train.learning_rate"}
    assert lines_and_axes(plot.parallel()) == (
        12,
        ["val_accuracy", "model.architecture", "train.learning_rate"],
    )


def test_of_several_metrics_one_is_shown(tmp_path: Path) -> None:
    objective = {"metric": ["val_accuracy", "val_loss"], "direction": ["maximize", "minimize"]}
    study = begin_in_memory(tmp_path, objective=objective, budget={"trials": 2})

    def body(claim: RunningTrial) -> None:
        claim.report(epoch(1, 0.5, val_loss=2.0))

    run_trial(study, body)
    plot = Result(study).plot
    assert list(plot.history().data[0].y) == [0.5]
    assert list(plot.history("val_loss").data[0].y) == [2.0]
    with pytest.raises(StudyError, match=r"'loss' is no metric of .*: val_accuracy, val_loss"):
        plot.history("loss")


def test_too_few_trials_are_told(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    with pytest.raises(StudyError, match="needs 1 complete trial, and there are 0"):
        Result(study).plot.parallel()
    run_trial(study, reports(0.5))
    with pytest.raises(StudyError, match="needs 2 complete trials, and there are 1"):
        Result(study).plot.importance()


def test_where_nothing_is_searched_there_is_no_figure_of_it(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, train={"epochs": 1}, budget={"trials": 1})
    run_trial(study, reports(0.5))
    with pytest.raises(StudyError, match="nothing is searched that all trials have"):
        Result(study).plot.parallel()
