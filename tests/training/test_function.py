import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.config.settings import DataConfig, FunctionConfig, TrialConfig
from sweeper.errors import TrainingError, TrialInterrupted, TrialPruned
from sweeper.paths import RunPaths
from sweeper.training.function import train_function
from sweeper.training.user_trial import UserTrial
from sweeper.trial import EpochMetrics, Objective
from tests.support.recorder import Recorder

CPU = torch.device("cpu")
ACCURACY = Objective(("val_accuracy",), ("maximize",))

USER_CODE = """
import copy
import json
import pickle
import random
import torch

seen = []

def learn(params, trial):
    for epoch in range(1, params["train"]["epochs"] + 1):
        trial.report(epoch, val_accuracy=torch.tensor(epoch / 10), noise=random.random())

def use(params, trial):
    assert json.loads(json.dumps(params)) == params
    assert copy.deepcopy(params) == pickle.loads(pickle.dumps(params)) == params
    params["train"]["layers"][0]["n"] += 1
    trial.history.clear()
    note(params, trial)

def silent(params, trial):
    pass

def one(params, trial):
    return torch.tensor(0.5)

def two(params, trial):
    return 0.5, 3

def named(params, trial):
    return {"val_accuracy": 0.5, "noise": 2}

def reports_and_returns(params, trial):
    trial.report(1, val_accuracy=0.25)
    return 0.5

def breaks_off(params, trial):
    for epoch in range(1, 4):
        trial.report(epoch, val_accuracy=1)
        if trial.is_stopping():
            return

def note(params, trial):
    seen.append(params)
    trial.report(1, val_accuracy=1)
"""


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "users_code_of_test_function"
    (tmp_path / f"{name}.py").write_text(USER_CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def user_trial(folder: Path, reporter: Recorder, objective: Objective = ACCURACY) -> UserTrial:
    return UserTrial(
        number=4,
        seed=5,
        device=CPU,
        paths=RunPaths(folder, "small"),
        objective=objective,
        reporter=reporter,
        clock=lambda: 12.5,
    )


def user_config(reference: str, data: DataConfig | None = None) -> TrialConfig:
    train_config = FunctionConfig(function=reference, params={"epochs": 2, "layers": [{"n": 1}]})
    return TrialConfig(params={}, data=data, model=None, train=train_config, seed=5)


def test_a_users_function_reports_and_is_seeded(user_module: str, tmp_path: Path) -> None:
    reporters = [Recorder(), Recorder()]
    for reporter in reporters:
        train_function(user_config(f"{user_module}:learn"), user_trial(tmp_path, reporter))
    first, second = reporters[0].history
    assert (first.epoch, first.values["val_accuracy"], first.time_s) == (
        1,
        pytest.approx(0.1, abs=1e-7),
        12.5,
    )
    assert second.epoch == 2
    assert reporters[0].history == reporters[1].history


def test_a_users_function_is_given_plain_data_of_its_own(user_module: str, tmp_path: Path) -> None:
    data = DataConfig(name="digits", params={"size": 16})
    trial = user_trial(tmp_path, Recorder())
    train_function(user_config(f"{user_module}:note", data), trial)
    [seen] = import_module(user_module).seen
    assert set(seen) == {"data", "train"}
    assert dict(seen["data"]) == {
        "name": "digits",
        "root": None,
        "fallback": None,
        "validation": 0.1,
        "task": None,
        "transform": None,
        "validation_transform": None,
        "batch_size": 64,
        "size": 16,
    }
    assert seen["train"] == {
        "function": f"{user_module}:note",
        "epochs": 2,
        "layers": [{"n": 1}],
    }
    config = user_config(f"{user_module}:use")
    for _ in range(2):
        train_function(config, user_trial(tmp_path, Recorder()))
    assert [params["train"]["layers"] for params in import_module(user_module).seen[1:]] == [
        [{"n": 2}],
        [{"n": 2}],
    ]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("one", {"val_accuracy": 0.5}),
        ("named", {"val_accuracy": 0.5, "noise": 2.0}),
        ("reports_and_returns", {"val_accuracy": 0.25}),
    ],
)
def test_what_a_function_returns_is_its_report_if_it_made_none(
    user_module: str, tmp_path: Path, name: str, values: dict[str, float]
) -> None:
    reporter = Recorder()
    train_function(user_config(f"{user_module}:{name}"), user_trial(tmp_path, reporter))
    assert [(epoch.epoch, epoch.values) for epoch in reporter.history] == [(1, values)]


def test_a_function_returns_as_many_values_as_there_are_metrics(
    user_module: str, tmp_path: Path
) -> None:
    both = Objective(("val_accuracy", "latency"), ("maximize", "minimize"))
    reporter = Recorder()
    train_function(user_config(f"{user_module}:two"), user_trial(tmp_path, reporter, both))
    assert reporter.history[0].values == {"val_accuracy": 0.5, "latency": 3.0}
    with pytest.raises(TrainingError, match="returned 2 values; wanted are val_accuracy, in this"):
        train_function(user_config(f"{user_module}:two"), user_trial(tmp_path, Recorder()))


def test_a_users_function_without_a_report_is_refused(user_module: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r":silent ended without .* trial.report\(epoch, val_"):
        train_function(user_config(f"{user_module}:silent"), user_trial(tmp_path, Recorder()))


def test_signals_pass_through_a_users_function(user_module: str, tmp_path: Path) -> None:
    with pytest.raises(TrialPruned):
        train_function(
            user_config(f"{user_module}:learn"), user_trial(tmp_path, Recorder(stop_after=1))
        )


@pytest.mark.parametrize("n_epochs", [None, 3])
def test_a_function_that_returns_as_it_was_told_to_stop_has_not_ended(
    user_module: str, tmp_path: Path, n_epochs: int | None
) -> None:
    reporter = Recorder(n_batches=2)
    reporter.n_epochs = n_epochs
    with pytest.raises(TrialInterrupted, match=r"returned, as trial.is_stopping\(\) had told it"):
        train_function(user_config(f"{user_module}:breaks_off"), user_trial(tmp_path, reporter))
    assert reporter.heard == [1, 2]


def test_a_function_that_is_told_to_stop_after_its_last_epoch_has_ended(
    user_module: str, tmp_path: Path
) -> None:
    reporter = Recorder(n_batches=2)
    reporter.n_epochs = 2
    train_function(user_config(f"{user_module}:breaks_off"), user_trial(tmp_path, reporter))
    assert reporter.heard == [1, 2]


def test_the_folder_for_a_users_checkpoint_exists_and_history_is_there(tmp_path: Path) -> None:
    reporter = Recorder()
    trial = user_trial(tmp_path, reporter)
    assert trial.checkpoint.is_dir()
    assert trial.history == []
    trial.report(1, val_accuracy=0.5)
    assert trial.history == reporter.history == [EpochMetrics(1, {"val_accuracy": 0.5}, 12.5)]


@pytest.mark.parametrize("epoch", [0, 1.0, True, "1"])
def test_an_epoch_must_be_a_positive_integer(epoch: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="epoch must be an integer >= 1, got"):
        user_trial(tmp_path, Recorder()).report(epoch, val_accuracy=0.5)


@pytest.mark.parametrize("value", ["0.5", None, torch.zeros(2), 1j, [0.5]])
def test_a_metric_must_be_a_real_number(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="val_accuracy must be a real number or a tensor of"):
        user_trial(tmp_path, Recorder()).report(1, val_accuracy=value)


def test_every_report_needs_the_objectives_metrics(tmp_path: Path) -> None:
    both = Objective(("val_accuracy", "latency"), ("maximize", "minimize"))
    trial = user_trial(tmp_path, Recorder(), both)
    with pytest.raises(TrainingError, match="objective's latency; epoch 1 reported val_accuracy"):
        trial.report(1, val_accuracy=0.5)


def test_epochs_of_a_users_function_must_increase(tmp_path: Path) -> None:
    trial = user_trial(tmp_path, Recorder())
    trial.report(2, val_accuracy=0.5)
    with pytest.raises(TrainingError, match="epochs must increase, got 2 after 2"):
        trial.report(2, val_accuracy=0.7)


def test_a_trial_says_before_its_first_report_how_many_it_will_have(tmp_path: Path) -> None:
    reporter = Recorder()
    trial = user_trial(tmp_path, reporter)
    trial.plan_epochs(30)
    assert trial.n_epochs == reporter.n_epochs == 30
    trial.report(2, val_accuracy=0.5)
    with pytest.raises(
        TrainingError, match="plan_epochs: comes after the report of epoch 2; call"
    ):
        trial.plan_epochs(30)


@pytest.mark.parametrize("n_epochs", [0, 1.0, True, None])
def test_the_number_of_epochs_must_be_a_positive_integer(n_epochs: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="plan_epochs: must be given an integer >= 1, got"):
        user_trial(tmp_path, Recorder()).plan_epochs(n_epochs)


def test_a_metric_needs_a_name_that_mlflow_takes(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="'top 5 @%' is no name for a metric: MLflow takes"):
        user_trial(tmp_path, Recorder()).report(1, val_accuracy=0.5, **{"top 5 @%": 1.0})


@pytest.mark.parametrize("name", ["best_epoch", "best_val_accuracy", "system/sweeper_gpu"])
def test_a_metric_of_sweepers_own_is_refused(name: str, tmp_path: Path) -> None:
    expected = f"'{name}' is no name for a metric: sweeper writes a metric of that name itself"
    with pytest.raises(TrainingError, match=expected):
        user_trial(tmp_path, Recorder()).report(1, val_accuracy=0.5, **{name: 1.0})
