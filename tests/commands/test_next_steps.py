import math
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.commands.next_steps import next_steps
from sweeper.config.from_python import ORIGIN
from sweeper.config.reader import load_study
from sweeper.config.render import render_study
from sweeper.errors import ExitCode
from sweeper.study.result import Result
from sweeper.study.study import SweepStudy
from sweeper.tracking.completion import Completion
from tests.support.sweep_studies import (
    PRUNED,
    Body,
    begin_in_memory,
    epoch,
    raises,
    reports,
    run_trial,
)


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    study = begin_in_memory(tmp_path, budget={"trials": 2})
    for accuracy in (0.5, 0.75):
        run_trial(study, reports(accuracy))
    return study


def steps(
    study: SweepStudy,
    code: ExitCode = ExitCode.GOAL_REACHED,
    completion: Completion | None = None,
    *,
    has_everything: bool = True,
) -> list[str]:
    return next_steps(Result(study, code), completion, has_everything=has_everything)


def test_at_the_goal_the_last_lines_go_on_and_load_the_best_model(study: SweepStudy) -> None:
    file, models = study.spec.path, {1: "models:/m-1"}
    assert steps(study, completion=Completion("", "sqlite:///a.db", "", models)) == [
        f"compare them: sweeper ui {file}",
        f"to go on, raise budget.trials in the file: sweeper run {file}",
        'load the best model: import mlflow; mlflow.set_tracking_uri("sqlite:///a.db"); '
        'model = mlflow.pyfunc.load_model("models:/m-1")',
    ]


def test_what_the_command_line_laid_over_the_file_is_in_each_command(study: SweepStudy) -> None:
    file = study.spec.path.parent / "my study.yaml"
    file.write_text(render_study(study.spec))
    study.spec = load_study(file, ["budget.trials=2", "train.l1={choices: [0, 1]}"])
    words = f"'{file}' budget.trials=2 'train.l1={{choices: [0, 1]}}'"
    assert steps(study, has_everything=False) == [
        f"compare them: sweeper ui {words}",
        f"MLflow does not have everything yet: sweeper sync {words}",
        f"to go on, raise budget.trials: sweeper run {words}",
    ]


def test_an_address_with_a_password_is_left_to_mlflows_own_variable(study: SweepStudy) -> None:
    *_, load = steps(study, completion=Completion("", "https://***@host", "", {1: "models:/m-1"}))
    assert load == (
        'load the best model: import mlflow; model = mlflow.pyfunc.load_model("models:/m-1")'
    )


def test_without_a_model_in_mlflow_it_is_what_the_trial_left(study: SweepStudy) -> None:
    no_models = Completion("", "sqlite:///a.db", "", {})
    assert len(steps(study, completion=no_models)) == 2
    kept = study.paths.user_checkpoint(1) / "state.pt"
    kept.parent.mkdir(parents=True)
    assert len(steps(study, completion=no_models)) == 2
    kept.touch()
    assert steps(study)[-1] == f"what trial 1 kept: {kept.parent}"
    weights = study.paths.model(1)
    weights.touch()
    assert steps(study)[-1] == (
        f'load the weights of the best model: import torch; torch.load("{weights}")'
    )


def test_before_the_goal_the_same_command_goes_on(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, budget={"trials": 2})
    run_trial(study, reports(0.5))
    study.paths.model(0).touch()
    assert steps(study, ExitCode.STOPPED, has_everything=False) == [
        f"compare them: sweeper ui {study.spec.path}",
        f"MLflow does not have everything yet: sweeper sync {study.spec.path}",
        f"the same command goes on: sweeper run {study.spec.path}",
    ]


@pytest.mark.parametrize("n_trials", [2, 3])
def test_where_every_setting_was_tried_more_trials_are_not_offered(
    tmp_path: Path, n_trials: int
) -> None:
    train = {"epochs": 1, "optimizer": {"choices": ["sgd", "adamw"]}}
    study = begin_in_memory(tmp_path, train=train, budget={"trials": n_trials})
    for _ in range(2):
        run_trial(study, reports(0.5))
    assert steps(study) == [
        f"compare them: sweeper ui {study.spec.path}",
        "the space has 2 settings, all tried; `sampler: {duplicates: reseed}` tries settings "
        "again, with other seeds",
    ]


DIVERGES, FAILS = reports(math.nan), raises(ValueError("odd"))
LOWER = (
    "lower the learning rates, or see what makes the metrics infinite; a search that changes is "
    "another study, with another `name`"
)


@pytest.mark.parametrize(
    ("bodies", "said"),
    [
        ([DIVERGES, DIVERGES], LOWER),
        (
            [DIVERGES, FAILS, DIVERGES],
            f"{LOWER}; why some failed: sweeper status {{file}}",
        ),
        (
            [PRUNED, PRUNED],
            "set `pruner: {{name: none}}`, or one that ends fewer trials, and raise budget.trials",
        ),
    ],
)
def test_where_no_trial_is_complete_more_of_the_same_is_not_offered(
    tmp_path: Path, bodies: list[Body], said: str
) -> None:
    study = begin_in_memory(tmp_path, budget={"trials": 2})
    for body in bodies:
        study.queue.top_up()
        run_trial(study, body)
    file = study.spec.path
    assert steps(study, ExitCode.FAILURE) == [
        f"compare them: sweeper ui {file}",
        f"more of the same would hardly help: {said.format(file=file)}",
    ]


def test_where_every_setting_diverged_trying_them_again_is_not_offered(tmp_path: Path) -> None:
    train = {"epochs": 1, "optimizer": {"choices": ["sgd", "adamw"]}}
    study = begin_in_memory(tmp_path, train=train, budget={"trials": 2})
    for _ in range(2):
        run_trial(study, DIVERGES)
    assert steps(study, ExitCode.FAILURE)[1] == f"more of the same would hardly help: {LOWER}"


def reports_both(value: float) -> Body:
    return lambda trial: trial.report(epoch(1, value, val_loss=value))


def test_of_a_front_the_first_trial_is_named(tmp_path: Path) -> None:
    objective = {"metric": ["val_accuracy", "val_loss"], "direction": ["maximize", "minimize"]}
    study = begin_in_memory(tmp_path, objective=objective, budget={"trials": 2})
    for value in (0.25, 0.125):
        run_trial(study, reports_both(value))
    models = {0: "models:/m-0", 1: "models:/m-1"}
    *_, load = steps(study, completion=Completion("", "http://host", "", models))
    assert load.startswith("load the model of trial 0: ")
    assert load.endswith('model = mlflow.pyfunc.load_model("models:/m-0")')


def test_a_study_from_python_goes_on_there(study: SweepStudy) -> None:
    study.spec = replace(study.spec, origins={"": ORIGIN})
    assert steps(study)[1] == "to go on, raise budget.trials and run it again"
    study.goal = 3
    assert steps(study, ExitCode.STOPPED)[1] == "the same call goes on"
