from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState as OptunaState

from sweeper.commands.progress import Tally, open_screen
from sweeper.commands.trial_table import TrialTable
from sweeper.events import EventWriter, Started
from sweeper.paths import RunPaths
from sweeper.study.trial_cache import Standing
from sweeper.trial import Objective

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
