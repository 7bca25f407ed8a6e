from pathlib import Path

import pytest

from sweeper.commands.progress import Progress, SteadyEstimate, Ticker
from sweeper.commands.screen import open_screen
from sweeper.study.result import Result
from sweeper.trial import Objective
from tests.support.sweep_studies import begin, epoch, reports, run_trial

ACCURACY = Objective(("val_accuracy",), ("maximize",))


def test_each_trial_is_counted_when_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = begin(tmp_path, budget={"trials": 4})
    run_trial(study, reports(0.25))  # of a command before
    progress = Progress(open_screen(ACCURACY), study)
    progress.show(study.cache.look(), {})
    assert capsys.readouterr().out == ""
    run_trial(study, reports(0.5))
    run_trial(study, reports(0.75))
    progress.show(study.cache.look(), {})
    told = [line.partition(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert told == ["[2/4", "[3/4"]


def test_a_study_of_which_nothing_runs_for_long_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = begin(tmp_path, budget={"trials": 4})
    progress = Progress(open_screen(ACCURACY), study)
    run_trial(study, reports(0.5))
    for _ in range(50):  # while workers start, or load their data
        progress.show(study.cache.look(), {})
    assert capsys.readouterr().out.startswith("[1/4, ")


def test_a_study_of_several_metrics_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objective = {"metric": ["val_accuracy", "val_loss"], "direction": ["maximize", "minimize"]}
    study = begin(tmp_path, objective=objective, budget={"trials": 4})
    progress = Progress(open_screen(study.spec.objective), study)
    run_trial(study, lambda trial: trial.report(epoch(1, 0.5, val_loss=0.25)))
    progress.show(study.cache.look(), {})
    assert "complete" in capsys.readouterr().out


def test_an_estimate_moves_to_what_is_measured_without_a_jump() -> None:
    clock = [0.0]
    estimate = SteadyEstimate(lambda: clock[0])
    assert estimate.show(None) is None
    clock[0] = 10.0
    assert estimate.show(60.0) == 60.0  # the first word is as good as any
    shown, at = [60.0], [10.0]
    for _ in range(200):
        clock[0] += 0.5
        left = estimate.show(300.0)
        assert left is not None
        shown.append(left)
        at.append(clock[0])
    # (10.5 / 10) squared is 1.1, and later steps are smaller.
    assert max(b / (a - 0.5) for a, b in zip(shown, shown[1:], strict=False)) <= 1.11
    reached = next(at for at, left in zip(at, shown, strict=True) if left == 300.0)
    assert 20 < reached < 40
    assert shown[-1] == 300.0
    clock[0] += 1.0
    assert estimate.show(0.0) == pytest.approx(299.0 * (110 / 111) ** 2)


def test_the_summary_ends_with_the_best_trial_and_a_pruned_one_that_was_better(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = begin(tmp_path, pruner={"name": "asha"}, budget={"trials": 2})
    run_trial(study, reports(0.5, 0.6, 0.7))
    run_trial(study, reports(0.8, 0.5))
    screen = open_screen(ACCURACY)
    screen.summary(Result(study))
    screen.next_steps(["and then"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "small: 2 of 2 trials: 1 complete, 1 pruned",
        "best trial 0: val_accuracy 0.7",
    ]
    assert lines[3].startswith("pruned trial 1: val_accuracy 0.8, better than any complete one; ")
    assert lines[5].startswith("to train it to its end: set budget.trials: 3, ")
    assert lines[6].startswith("  - {train.learning_rate: ")
    assert lines[-1] == "and then"


def test_progress_is_said_every_five_seconds() -> None:
    said: list[str] = []
    clock = [0.0]
    ticker = Ticker("small: sending", said.append, lambda: clock[0])
    for n_done in range(12):
        ticker.show(n_done, 12)
        clock[0] += 1.0
    assert said == ["small: sending: 5 of 12 trials", "small: sending: 10 of 12 trials"]
