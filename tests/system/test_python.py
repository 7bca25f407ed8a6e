"""Studies of scripts, whose functions no module has."""

import json
import subprocess
import sys

import pytest

from tests.support.mlflow_store import copy_empty_database
from tests.support.sweep import Sweep

SCRIPT = """
import json, sys
import sweeper
from own import SHIFT

FACTOR = 2

def measure(params, trial):
    trial.report(1, score=FACTOR * params["train"]["x"] + SHIFT)

study = sweeper.Study(
    name="sweep",
    objective={"metric": "score", "direction": "maximize"},
    budget={"trials": int(sys.argv[1])},
    sampler={"name": "random"},
    train={"function": measure, "x": {"low": 0.0, "high": 1.0}},
    run={"workers": 2},
    tracking={"log_models": "none"},
)
result = sweeper.run(study)
print(json.dumps([row["score"] for row in result.rows()]))
"""


def run_script(sweep: Sweep, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A script beside its module ``own``, from a folder that is not theirs."""
    folder = sweep.folder / "scripts"
    folder.mkdir(exist_ok=True)
    (folder / "own.py").write_text("SHIFT = 10\n")
    (folder / "script.py").write_text(text)
    copy_empty_database(sweep.paths.mlflow_db)
    command = [sys.executable, "scripts/script.py", *words]
    return subprocess.run(command, cwd=sweep.folder, capture_output=True, text=True)


def values(script: subprocess.CompletedProcess[str]) -> list[float]:
    """What its trials measured."""
    found: list[float] = json.loads(script.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.gate
def test_a_scripts_own_function_is_swept_and_only_the_script_goes_on(sweep: Sweep) -> None:
    done = run_script(sweep, SCRIPT, "2")
    assert done.returncode == 0, done.stderr
    assert all(10 <= value <= 12 for value in values(done))
    study_file = sweep.paths.resolved_spec.read_text()
    assert "function: __main__:measure" in study_file
    for path in sweep.paths.study_dir.rglob("*"):
        assert path.is_dir() or b"FACTOR" not in path.read_bytes(), path

    again = run_script(sweep, SCRIPT, "3")
    assert again.returncode == 0, again.stderr
    assert len(values(again)) == 3
    assert "your own code has changed" not in again.stderr
    changed = run_script(sweep, SCRIPT.replace("FACTOR = 2", "FACTOR = 3"), "4")
    assert "WARNING: your own code has changed" in changed.stderr

    status = sweep.run("status", "sweep", "--json")
    assert json.loads(status.stdout)["finished"] == 4
    elsewhere = sweep.run("run", "sweep")
    assert elsewhere.returncode == 0  # its goal is reached, so no code is needed
    text = study_file.replace("trials: 2", "trials: 5")
    sweep.paths.resolved_spec.write_text(text)
    elsewhere = sweep.run("run", "sweep")
    assert elsewhere.returncode == 2
    [line] = elsewhere.stderr.splitlines()
    assert "train.function: __main__:measure was a function of a notebook or a script" in line
    assert line.endswith("put it into a module, as in mine.py, and name it `mine:measure`")
