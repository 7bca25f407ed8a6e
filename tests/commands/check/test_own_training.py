"""What a function or a program of the user's own does up to its first report."""

from pathlib import Path

import pytest

from sweeper.commands.check import own_training
from sweeper.commands.check.own_training import try_own_training
from sweeper.config.references import make_importable
from sweeper.config.space import first_value, suggest_config
from sweeper.config.study import StudySpec
from sweeper.errors import TrainingError
from sweeper.workers.devices import Placement
from tests.support.function_studies import function_spec

#: What a training function does -> what check says of it.
CALLS = {
    'trial.report(1, score=params["train"]["x"])': "reported score 0.5 in ",
    "import optuna; raise optuna.TrialPruned('no')": "ended itself as pruned: TrialPruned: no",
    "import sweeper; raise sweeper.TrialPruned('no')": "ended itself: TrialPruned: no",
    "import time; time.sleep(600)": "has reported nothing in 1 s, and check waits no longer",
}
WRONG_CALLS = {
    'trial.report(1, score=params["train"]["lr"])': r"raised KeyError: 'lr' \(.*py:16\)$",
    "pass": r"ended without a report; call trial.report\(epoch, score=...\)",
    "import sys; sys.exit('no file')": "raised SystemExit: no file",
}


def called(folder: Path, body: str) -> str:
    spec = function_spec(folder, body, x=[0.5])
    make_importable([str(folder)])
    return tried(spec, folder)


def tried(spec: StudySpec, folder: Path) -> str:
    config = suggest_config(spec, first_value, seed=0)
    return try_own_training(spec, config, Placement("cpu", 1, 1), cache_dir=folder / "cache")


@pytest.mark.parametrize(("body", "said"), CALLS.items())
def test_a_training_function_is_called_up_to_its_first_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    monkeypatch.setattr(own_training, "_CALL_S", 1)
    assert called(tmp_path, body).startswith(said)


@pytest.mark.parametrize(("body", "said"), WRONG_CALLS.items())
def test_a_training_function_that_would_fail_its_trials_is_refused(
    tmp_path: Path, body: str, said: str
) -> None:
    with pytest.raises(TrainingError, match=said):
        called(tmp_path, body)


PROGRAMS = {
    """echo '{"epoch": 1, "score": 0.5}'; sleep 600""": "reported score 0.5 in ",
    "sleep 600": "has reported nothing in 1 s, and check waits no longer",
}
WRONG_PROGRAMS = {
    "echo bad; exit 3": "^train.command: sh ended with exit code 3: bad$",
    "echo score=0.5": "^train.command: sh ended without a report: no line of its output is a JSON",
}


def started(folder: Path, script: str) -> str:
    command = ["sh", "-c", script, "${train.x}"]
    spec = function_spec(folder, train={"command": command, "x": {"choices": [0.5]}})
    return tried(spec, folder)


@pytest.mark.parametrize(("script", "said"), PROGRAMS.items())
def test_a_program_is_started_up_to_its_first_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setattr(own_training, "_CALL_S", 1)
    assert started(tmp_path, script).startswith(said)


@pytest.mark.parametrize(("script", "said"), WRONG_PROGRAMS.items())
def test_a_program_that_would_fail_its_trials_is_refused(
    tmp_path: Path, script: str, said: str
) -> None:
    with pytest.raises(TrainingError, match=said):
        started(tmp_path, script)
