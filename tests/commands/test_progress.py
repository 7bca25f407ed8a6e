from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState as OptunaState

from sweeper.commands.progress import Progress, Tally, Ticker, open_screen
from sweeper.commands.trial_table import TrialTable
from sweeper.events import EventWriter, Started
from sweeper.paths import RunPaths
from sweeper.study.result import Result
from sweeper.study.trial_cache import Standing
from sweeper.trial import Objective
from tests.support.sweep_studies import begin, reports, run_trial

ACCURACY = Objective(("val_accuracy",), ("maximize",))


def test_the_live_table_fits_on_the_screen_however_many_trials_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("LINES", "24")):
        monkeypatch.setenv(name, value)
    paths = RunPaths(tmp_path / "mlruns", "small")
    running = []
    for number in range(40):
        with EventWriter(paths.events(number)) as log:
            log.append(Started(1.0, 0, {}, {}, None, None))
        trial = optuna.trial.create_trial(state=OptunaState.RUNNING)
        trial.number = number
        running.append(trial)
    standing = Standing(40, 0, [], running)
    table = TrialTable(paths, ACCURACY, standing)
    table.poll(standing)
    screen = open_screen(ACCURACY)
    screen.show(table, Tally(0, 40, None))
    screen.close()
    shown = capsys.readouterr().out
    # Of 24 lines 12 are of running trials; the rest is for ended ones, title, bar and prompt.
    assert "and 28 more" in shown
    assert "0/40 trials" in shown


def test_the_time_that_is_left_follows_the_trials_of_this_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = begin(tmp_path)
    run_trial(study, reports(0.25))  # of a command before
    now_s = 50.0
    progress = Progress(open_screen(ACCURACY), study, lambda: now_s)
    progress.show(study.cache.look())
    assert capsys.readouterr().out == ""
    run_trial(study, reports(0.5))
    run_trial(study, reports(0.75))
    now_s = 54.0
    progress.show(study.cache.look())
    assert capsys.readouterr().out.splitlines() == [
        "[3/10, 14s left] trial 1 complete in 0s: val_accuracy 0.5  (epoch 1 of 1)",
        "[3/10, 14s left] trial 2 complete in 0s: val_accuracy 0.75  (epoch 1 of 1)",
    ]


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
