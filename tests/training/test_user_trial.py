"""What a training function is given: what it reports, and what it logs beside."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as plotly
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from sweeper.errors import TrainingError
from sweeper.events import FileLogged, ModelLogged, TagsSet, TensorForm
from sweeper.paths import RunPaths
from sweeper.training.user_trial import UserTrial
from sweeper.trial import EpochMetrics, Objective
from tests.support.recorder import Recorder


class Told(list[str]):
    """What the user is told."""


@pytest.fixture
def reporter() -> Recorder:
    return Recorder()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def trial(tmp_path: Path, reporter: Recorder, told: Told) -> UserTrial:
    return UserTrial(
        number=4,
        seed=5,
        device=torch.device("cpu"),
        paths=RunPaths(tmp_path / "mlruns", "small"),
        objective=Objective(("val_accuracy",), ("maximize",)),
        reporter=reporter,
        keeps_model=True,
        note=told.append,
        clock=lambda: 12.5,
    )


def test_the_folder_for_a_users_checkpoint_exists_and_history_is_there(
    trial: UserTrial, reporter: Recorder
) -> None:
    assert trial.checkpoint.is_dir()
    assert trial.history == []
    trial.report(1, val_accuracy=0.5)
    assert trial.history == reporter.history == [EpochMetrics(1, {"val_accuracy": 0.5}, 12.5)]


@pytest.mark.parametrize("epoch", [0, 1.0, True, "1"])
def test_an_epoch_must_be_a_positive_integer(epoch: Any, trial: UserTrial) -> None:
    with pytest.raises(TrainingError, match="epoch must be an integer >= 1, got"):
        trial.report(epoch, val_accuracy=0.5)


@pytest.mark.parametrize("value", ["0.5", None, torch.zeros(2), 1j, [0.5]])
def test_a_metric_must_be_a_real_number(value: Any, trial: UserTrial) -> None:
    with pytest.raises(TrainingError, match="val_accuracy must be a real number or a tensor of"):
        trial.report(1, val_accuracy=value)


def test_every_report_needs_the_objectives_metrics(trial: UserTrial) -> None:
    both = Objective(("val_accuracy", "latency"), ("maximize", "minimize"))
    trial = replace(trial, objective=both)
    with pytest.raises(TrainingError, match="objective's latency; epoch 1 reported val_accuracy"):
        trial.report(1, val_accuracy=0.5)


def test_epochs_of_a_users_function_must_increase(trial: UserTrial) -> None:
    trial.report(2, val_accuracy=0.5)
    with pytest.raises(TrainingError, match="epochs must increase, got 2 after 2"):
        trial.report(2, val_accuracy=0.7)


def test_a_trial_says_before_its_first_report_how_many_it_will_have(
    trial: UserTrial, reporter: Recorder
) -> None:
    trial.plan_epochs(30)
    assert trial.n_epochs == reporter.n_epochs == 30
    trial.report(2, val_accuracy=0.5)
    with pytest.raises(
        TrainingError, match="plan_epochs: comes after the report of epoch 2; call"
    ):
        trial.plan_epochs(30)


@pytest.mark.parametrize("n_epochs", [0, 1.0, True, None])
def test_the_number_of_epochs_must_be_a_positive_integer(n_epochs: Any, trial: UserTrial) -> None:
    with pytest.raises(TrainingError, match="plan_epochs: must be given an integer >= 1, got"):
        trial.plan_epochs(n_epochs)


def test_a_metric_needs_a_name_that_mlflow_takes(trial: UserTrial) -> None:
    with pytest.raises(TrainingError, match="'top 5 @%' is no name for a metric: MLflow takes"):
        trial.report(1, val_accuracy=0.5, **{"top 5 @%": 1.0})


@pytest.mark.parametrize("name", ["best_epoch", "best_val_accuracy", "system/sweeper_gpu"])
def test_a_metric_of_sweepers_own_is_refused(name: str, trial: UserTrial) -> None:
    expected = f"'{name}' is no name for a metric: sweeper writes a metric of that name itself"
    with pytest.raises(TrainingError, match=expected):
        trial.report(1, val_accuracy=0.5, **{name: 1.0})


def logged_file(trial: UserTrial, name: str) -> Path:
    return trial.paths.logged_files(trial.number) / name


def test_a_file_is_copied_into_the_trials_folder_and_told(
    trial: UserTrial, reporter: Recorder, tmp_path: Path
) -> None:
    source = tmp_path / "notes.txt"
    source.write_text("first")
    trial.log_artifact(source, "texts/more")
    source.write_text("changed meanwhile")
    assert logged_file(trial, "texts/more/notes.txt").read_text() == "first"
    digest = hashlib.sha256(b"first").hexdigest()
    assert reporter.logged == [FileLogged(12.5, "texts/more/notes.txt", digest)]


def test_of_a_folder_all_files_are_logged_below_its_name(
    trial: UserTrial, reporter: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "a.txt").write_text("a")
    (tmp_path / "out" / "deep" / "b.txt").write_text("b")
    monkeypatch.chdir(tmp_path / "out")
    trial.log_artifact(".")
    paths = [event.path for event in reporter.logged if isinstance(event, FileLogged)]
    assert paths == ["out/a.txt", "out/deep/b.txt"]
    assert logged_file(trial, "out/deep/b.txt").read_text() == "b"


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("gone.txt", "", "trial.log_artifact: .*gone.txt: there is no such file or folder"),
        ("a#b.txt", "", "'a#b.txt' is no name for a logged file: letters, digits, spaces and"),
        ("half.tmp", "", "'half.tmp' is no name .*: names of files that are yet to be whole end"),
        ("a.txt", "weights", "'weights/a.txt' is .*: the folder weights is sweeper's own; give"),
        ("a.txt", "../out", "'../out/a.txt' is .*: MLflow reads a name as a path, which may not"),
        ("a.txt", "/out", "'/out/a.txt' is .*: MLflow reads a name as a path, which may not"),
        ("a.txt", "d" * 245, "it may have up to 245 signs, this one has 251"),
    ],
)
def test_what_cannot_be_logged_is_refused(
    trial: UserTrial, tmp_path: Path, name: str, folder: str, message: str
) -> None:
    if "gone" not in name:
        (tmp_path / name).touch()
    with pytest.raises(TrainingError, match=message):
        trial.log_artifact(tmp_path / name, folder)
    assert not trial.paths.logged_files(trial.number).exists()


def figure() -> Figure:
    drawn = Figure()
    drawn.subplots().plot([1, 2], [3, 4])
    return drawn


@pytest.mark.parametrize(
    ("drawn", "name", "begin"),
    [
        (figure(), "roc.png", b"\x89PNG"),
        (figure(), "plots/roc.SVG", b"<?xml"),
        (plotly.Figure(plotly.Scatter(y=[1, 2])), "roc.html", b"<!doctype html>"),
        (plotly.Figure(plotly.Scatter(y=[1, 2])), "roc.json", b'{"data":'),
    ],
    ids=["png", "svg", "html", "json"],
)
def test_a_figure_is_kept_in_the_form_that_its_name_ends_in(
    trial: UserTrial, reporter: Recorder, drawn: Any, name: str, begin: bytes
) -> None:
    trial.log_figure(drawn, name)
    assert logged_file(trial, name).read_bytes().startswith(begin)
    [event] = reporter.logged
    assert isinstance(event, FileLogged)
    assert event.path == name


def test_what_is_no_figure_or_has_no_form_is_refused(trial: UserTrial) -> None:
    with pytest.raises(TrainingError, match="'roc' must say by its end in which form"):
        trial.log_figure(figure(), "roc")
    with pytest.raises(TrainingError, match="a figure of matplotlib or plotly, got a list"):
        trial.log_figure([1, 2], "roc.png")


def test_tags_are_told_at_once_and_those_of_earlier_processes_are_known(
    trial: UserTrial, reporter: Recorder
) -> None:
    reporter.tags = {"stage": "one"}
    assert trial.tags["stage"] == "one"
    trial.tags["stage"] = "two"
    assert reporter.logged == [TagsSet(12.5, {"stage": "two"})]
    assert trial.tags["stage"] == "two"


def test_a_model_is_exported_and_told(trial: UserTrial, reporter: Recorder) -> None:
    net = nn.Linear(4, 3)
    trial.log_model(net, torch.ones(1, 4))
    program = torch.export.load(trial.paths.exported_model(4)).module()
    torch.testing.assert_close(program(torch.ones(5, 4)), net(torch.ones(5, 4)))
    [event] = reporter.logged
    assert isinstance(event, ModelLogged)
    assert (event.form, event.module) == ("pt2", "torch.nn.modules.linear.Linear")
    assert event.inputs == (TensorForm("", "float32", (4,)),)
    assert event.outputs == (TensorForm("", "float32", (3,)),)


class Undecided(nn.Module):
    """Does what no program can: it depends on what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.weight if inputs.sum() > 0 else inputs


def test_what_cannot_be_exported_is_kept_as_its_state_dict_and_that_is_said(
    trial: UserTrial, reporter: Recorder, told: Told
) -> None:
    trial.log_model(nn.Linear(4, 3), torch.ones(2, 4))
    trial.log_model(Undecided(), torch.ones(2, 4))
    assert not trial.paths.exported_model(4).exists()
    state = torch.load(trial.paths.model(4), weights_only=True)
    assert torch.equal(state["weight"], torch.ones(4))
    assert reporter.logged[1:] == [ModelLogged(12.5, "state_dict", f"{__name__}.Undecided")]
    [said] = told
    assert said.startswith(f"the model {__name__}.Undecided cannot be exported (")
    assert said.endswith("); its state_dict is logged instead, which only your own code can load")
    trial.log_model(nn.Linear(4, 3), torch.ones(2, 4))
    assert not trial.paths.model(4).exists()


def test_an_example_that_is_none_costs_no_trial(trial: UserTrial, told: Told) -> None:
    trial.log_model(nn.Linear(4, 3), None)
    assert trial.paths.model(4).exists()
    assert "the example must be a batch" in told[0]


def test_what_is_no_module_is_refused(trial: UserTrial) -> None:
    with pytest.raises(TrainingError, match=r"wanted is a torch.nn.Module, got a dict"):
        trial.log_model({}, torch.ones(2, 4))  # type: ignore[arg-type]


def test_no_model_is_exported_if_none_is_wanted(
    trial: UserTrial, reporter: Recorder, told: Told
) -> None:
    trial = replace(trial, keeps_model=False)
    trial.log_model(nn.Linear(4, 3), torch.ones(2, 4))
    trial.log_returned(nn.Linear(4, 3))
    assert (reporter.logged, told) == ([], [])
    assert not any(path.exists() for path in trial.paths.model_files(4))
