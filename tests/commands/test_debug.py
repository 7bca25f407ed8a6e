"""``sweeper run --debug`` in this process; what is typed into the debugger comes from a file."""

import io
import sys
from pathlib import Path
from pdb import Pdb

import pytest

from sweeper.commands.debug import debug_study
from sweeper.errors import ExitCode
from tests.support.function_studies import begin_function, function_spec
from tests.support.sweep_studies import begin, raises, run_trial

#: Stops in a debugger, in the trial whose x is 0.5.
BODY = """secret = 42
    if params["train"]["x"] == 0.5:
        breakpoint()
    trial.report(1, score=params["train"]["x"])
    trial.report(2, score=trial.number)"""


@pytest.fixture(autouse=True)
def breakpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own, as pytest's reads its own standard input."""
    monkeypatch.setattr(sys, "breakpointhook", lambda: Pdb().set_trace(sys._getframe(1)))


def test_a_debugger_reads_the_terminal_and_sees_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = function_spec(tmp_path, BODY, x=[0.5, 0.7])
    monkeypatch.setattr(sys, "stdin", io.StringIO("p secret\nc\n"))
    lines: list[str] = []
    assert debug_study(spec, tmp_path / "mlruns", lines.append) == ExitCode.GOAL_REACHED
    assert "(Pdb) 42" in capsys.readouterr().out
    assert lines == [
        "a first trial: train.x=0.5; in this process, nothing of it is kept",
        "epoch 1: score 0.5",
        "epoch 2: score 0",
        "the trial came to its end",
    ]
    assert not (tmp_path / "mlruns" / "studies").exists()


def test_the_trial_that_failed_last_runs_once_more_as_it_did(tmp_path: Path) -> None:
    enqueue = [{"train.x": 0.7}]
    study = begin_function(tmp_path, BODY, enqueue=enqueue)
    run_trial(study, raises(KeyError("lr")))
    before = study.counts()
    lines: list[str] = []
    assert debug_study(study.spec, tmp_path / "mlruns", lines.append) == ExitCode.GOAL_REACHED
    assert lines[0] == (
        "trial 0, which failed of KeyError: 'lr': train.x=0.7; in this process, nothing of it is "
        "kept"
    )
    assert study.counts() == before


@pytest.mark.parametrize(
    ("body", "code", "last"),
    [
        ("breakpoint()\n    x = 1", ExitCode.INTERRUPTED, "left by the debugger"),
        ('params["train"]["lr"]', ExitCode.FAILURE, "KeyError: 'lr'"),
        (
            'import sweeper\n    raise sweeper.TrialPruned("hopeless")',
            ExitCode.GOAL_REACHED,
            "it ended itself: TrialPruned: hopeless",
        ),
    ],
)
def test_how_it_ended_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, code: ExitCode, last: str
) -> None:
    spec = function_spec(tmp_path, body)
    monkeypatch.setattr(sys, "stdin", io.StringIO("q\n"))
    lines: list[str] = []
    assert debug_study(spec, tmp_path / "mlruns", lines.append) == code
    assert lines[-1].endswith(last)


def test_built_in_training_is_run_too(tmp_path: Path) -> None:
    study = begin(tmp_path, train={"epochs": 1})
    lines: list[str] = []
    assert debug_study(study.spec, tmp_path / "mlruns", lines.append) == ExitCode.GOAL_REACHED
    assert lines[1].startswith("epoch 1: train_loss ")
