"""What ``sweeper init --from`` writes runs as it is, but for how long."""

import shutil
from pathlib import Path

import pytest

from tests.support.sweep import Sweep

pytestmark = pytest.mark.slow
PROGRAMS = Path(__file__).parents[1] / "programs"


def shorten(sweep: Sweep) -> None:
    text = sweep.file.read_text().replace("trials: 20", "trials: 2")
    sweep.write(text + "run: {workers: 1, device: cpu}\n")


@pytest.mark.parametrize("trainer", ["lightning", "transformers"])
def test_a_trainers_study_is_checked_and_run(sweep: Sweep, trainer: str) -> None:
    assert sweep.run("init", "sweep.yaml", "--from", trainer).returncode == 0
    shorten(sweep)
    checked = sweep.run("check", "sweep.yaml")
    assert checked.returncode == 0, checked.stderr
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    sweep.assert_truth(finished=2)


@pytest.mark.parametrize("name", ["words", "resumable"])
def test_a_strangers_script_is_checked_and_run(sweep: Sweep, name: str) -> None:
    shutil.copy(PROGRAMS / f"{name}.py", sweep.folder / "train.py")
    assert sweep.run("init", "sweep.yaml", "--from", "train.py").returncode == 0
    shorten(sweep)
    checked = sweep.run("check", "sweep.yaml")
    assert checked.returncode == 0, checked.stderr
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    sweep.assert_truth(finished=2)
