"""What the table shows; how a terminal takes it is looked at by rendering to one of that size."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState as OptunaState
from rich.console import Console
from rich.text import Text

from sweeper.commands.followed_trials import FollowedTrials, Tally, TrialRow, row_of
from sweeper.commands.live_table import LiveTable
from sweeper.config.settings import Scalar
from sweeper.config.study import StudySpec
from sweeper.events import Ended, EventWriter, Started
from sweeper.paths import RunPaths
from sweeper.study.best import best_so_far
from sweeper.study.trial_cache import Standing
from sweeper.trial import Objective, Outcome, TrialState
from tests.support.sweep_studies import CONDITIONAL, begin, epoch, reports, run_trial, spec_of

ACCURACY = Objective(("val_accuracy",), ("maximize",))
PARAMS: Mapping[str, Scalar] = {
    "model.architecture": "own.nets:small",
    "model.architecture.mlp.depth": 3,
    "train.learning_rate": 0.0123456,
    "train.epochs": 3,
}


@pytest.fixture
def spec(tmp_path: Path) -> StudySpec:
    return spec_of(tmp_path, model=CONDITIONAL)


def trials_of(
    spec: StudySpec, folder: Path, *, n_running: int = 1, n_ended: int = 0
) -> FollowedTrials:
    paths = RunPaths(folder / "mlruns", "small")
    running = []
    for number in range(n_ended + n_running):
        with EventWriter(paths.events(number)) as log:
            log.append(Started(1.0, 0, PARAMS, {}, None, None))
            log.append(epoch(1, 0.5))
            if number < n_ended:
                log.append(Ended(2.0, Outcome(TrialState.COMPLETE, epoch(1, 0.5))))
        trial = optuna.trial.create_trial(state=OptunaState.RUNNING)
        trial.number = number
        running.append(trial)
    standing = Standing(n_ended + n_running, 0, [], running)
    trials = FollowedTrials(paths, spec, standing)
    trials.poll(standing, {0: 1.5})
    return trials


def terminal(width: int, height: int = 24) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, color_system=None, width=width, height=height
    )


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return Text.from_ansi(console.file.getvalue()).plain


def drawn(
    spec: StudySpec, trials: FollowedTrials, tally: Tally, *, width: int = 120, height: int = 24
) -> Sequence[str]:
    console = terminal(width, height)
    console.print(LiveTable(spec.objective, console).render(trials, tally))
    return [line.rstrip() for line in shown(console).splitlines()]


def test_a_row_has_what_varies_and_how_far_the_trial_is(tmp_path: Path, spec: StudySpec) -> None:
    lines = drawn(spec, trials_of(spec, tmp_path), Tally(0, 10, 1))
    words = " ".join(lines[:2]).split()
    for title in ("architecture", "depth", "width", "channels", "learning", "rate", "accuracy"):
        assert title in words
    assert lines[2].split()[:6] == ["0", "running", "small", "0.0123", "3", "1.5/3"]
    assert lines[2].split()[6] == "0.5"
    assert lines[3].endswith("0/10 trials, 1 running")


def test_the_best_so_far_stands_first_with_its_settings(tmp_path: Path) -> None:
    study = begin(tmp_path)
    for accuracy in (0.5, 0.75, 0.25):
        run_trial(study, reports(accuracy))
    study.cache.look()
    metrics = study.spec.objective.metrics
    best = [row_of(found) for found in best_so_far(study.cache.best(), metrics)]
    trials = FollowedTrials(study.paths, study.spec, study.cache.look())
    line = drawn(study.spec, trials, Tally(3, 10, 0, 75.0, best))[2]
    rate = study.trials()[1].params["train.learning_rate"]
    assert line.split()[:5] == ["1", "best", f"{rate:.3g}", "1", "0.75"]


def test_of_several_metrics_the_best_of_each_is_shown(tmp_path: Path) -> None:
    objective = {"metric": ["val_accuracy", "val_loss"], "direction": ["maximize", "minimize"]}
    study = begin(tmp_path, objective=objective)
    for accuracy, loss in ((0.5, 0.5), (0.75, 0.75), (0.25, 0.25), (0.6, 0.7)):
        run_trial(study, lambda t, a=accuracy, b=loss: t.report(epoch(1, a, val_loss=b)))  # type: ignore[misc]
    standing = study.cache.look()
    best = [row_of(found) for found in best_so_far(study.cache.best(), objective["metric"])]
    trials = FollowedTrials(study.paths, study.spec, standing)
    lines = drawn(study.spec, trials, Tally(4, 10, 0, 75.0, best))
    # Optuna has no epochs of several metrics, so how many there were is not shown.
    cells = [[*line.split()[:2], *line.split()[3:5]] for line in lines[2:4]]
    assert cells == [["1", "best", "0.75", "0.75"], ["2", "best", "0.25", "0.25"]]


@pytest.mark.parametrize("width", [120, 80, 60, 45])
def test_what_does_not_fit_is_left_out_from_the_right(
    tmp_path: Path, spec: StudySpec, width: int
) -> None:
    lines = drawn(spec, trials_of(spec, tmp_path), Tally(0, 10, 1, 3600.0), width=width)
    assert max(map(len, lines)) <= width
    assert len(lines) == 4, "no line is broken"
    assert lines[2].split()[:2] == ["0", "running"]
    assert lines[2].split()[-2] == "0.5"
    assert ("0.0123" in lines[2]) == (width >= 80)  # what every trial has comes before branches
    assert "0/10 trials" in lines[3]
    assert len(lines[3]) <= width - 4  # ^C^C is shown behind it


@pytest.mark.parametrize("height", [24, 12, 8])
def test_it_fits_on_the_screen_however_many_trials_run(
    tmp_path: Path, spec: StudySpec, height: int
) -> None:
    trials = trials_of(spec, tmp_path, n_running=40, n_ended=3)
    best = [TrialRow(0, TrialState.COMPLETE, best=epoch(1, 0.5), ended_s=1.0)]
    lines = drawn(spec, trials, Tally(3, 50, 40, None, best), height=height)
    assert len(lines) < height
    n_shown = sum("running" in line for line in lines[:-1])
    assert lines[-2].split() == ["and", str(40 - n_shown), "more"]
    assert lines[-1].endswith("3/50 trials, 40 running")
