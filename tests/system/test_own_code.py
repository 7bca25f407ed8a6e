"""The user's own code in workers that are forked."""

import pytest

from tests.support.sweep import Sweep

STUDY = """
name: sweep
objective: {metric: score, direction: maximize}
budget: {trials: 2}
train: {function: "own:run", x: {low: 0.0, high: 1.0}}
run: {workers: 2}
"""
#: Each trial waits for the other, so that each has a worker of its own.
CODE = """
import os
import sys
import time
from pathlib import Path

import numpy as np

FOUND = f"{sys.argv[1:]} {np.random.random()}"

def run(params, trial):
    Path(f"found-{os.getpid()}").write_text(FOUND)
    while len(list(Path().glob("found-*"))) < 2:
        time.sleep(0.1)
    trial.report(1, score=params["train"]["x"])
"""


@pytest.mark.slow
def test_a_worker_has_no_arguments_and_random_numbers_of_its_own(sweep: Sweep) -> None:
    sweep.write(STUDY)
    sweep.write_code(CODE)
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    found = [path.read_text().split() for path in sweep.folder.glob("found-*")]
    assert [arguments for arguments, _ in found] == ["[]", "[]"]
    assert found[0] != found[1]


@pytest.mark.slow
def test_code_that_was_edited_between_two_commands_is_told_and_counted(sweep: Sweep) -> None:
    sweep.write(STUDY.replace("workers: 2", "workers: 1"))
    code = "from more import SHIFT\ndef run(params, trial):\n    trial.report(1, score=SHIFT)\n"
    sweep.write_code(code)
    (sweep.folder / "more.py").write_text("SHIFT = 1\n")
    assert "your own code" not in sweep.run().stderr
    (sweep.folder / "more.py").write_text("SHIFT = 22\n")
    sweep.write(STUDY.replace("workers: 2", "workers: 1").replace("trials: 2", "trials: 4"))
    assert sweep.run().stderr.count("WARNING: your own code has changed since") == 1
    before, after = sweep.result().code_versions.items()
    assert (before[1], after[1]) == (0, 2)
    runs = sorted(sweep.runs(), key=lambda run: run.info.start_time)
    assert [run.data.tags["sweeper.code"] for run in runs] == [before[0]] * 2 + [after[0]] * 2
