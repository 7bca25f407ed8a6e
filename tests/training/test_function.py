import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from sweeper.config.settings import DataConfig, FunctionConfig, TrialConfig
from sweeper.errors import TrainingError, TrialInterrupted, TrialPruned
from sweeper.events import ModelLogged, TensorForm
from sweeper.training.function import train_function
from sweeper.trial import Objective
from tests.support.recorder import Recorder
from tests.support.user_trials import user_trial

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

def gives_a_module(params, trial):
    trial.log_model(torch.nn.Linear(4, 1), torch.ones(2, 4))
    return gives_a_module_alone(params, trial)

def gives_a_module_and_an_example(params, trial):
    return gives_a_module_alone(params, trial), torch.ones(1, 4)

def gives_a_module_alone(params, trial):
    trial.report(1, val_accuracy=1)
    return torch.nn.Linear(4, 2)

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


@pytest.mark.parametrize("name", ["gives_a_module", "gives_a_module_and_an_example"])
def test_a_module_that_a_function_returns_is_logged_with_the_example_that_is_known(
    user_module: str, tmp_path: Path, name: str
) -> None:
    reporter = Recorder()
    train_function(user_config(f"{user_module}:{name}"), user_trial(tmp_path, reporter))
    event = reporter.logged[-1]
    assert isinstance(event, ModelLogged)
    assert (event.form, event.inputs) == ("pt2", (TensorForm("", "float32", (4,)),))


def test_a_module_that_is_returned_without_any_example_is_told(
    user_module: str, tmp_path: Path
) -> None:
    told: list[str] = []
    trial = user_trial(tmp_path, Recorder(), note=told.append)
    train_function(user_config(f"{user_module}:gives_a_module_alone"), trial)
    assert told == [
        "the function returned a Linear, which is not logged, as this process was given no batch "
        "to export it with: return module, example"
    ]


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
