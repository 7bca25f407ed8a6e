"""A worker that takes more memory than its job may have, in a real control group."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.events import Ended
from sweeper.trial import FailureKind
from tests.support.control_groups import limit_memory, real_group
from tests.support.sweep import PATIENCE_S, Sweep

pytestmark = pytest.mark.slow

MIB = 2**20
LIMIT_MIB = 2000
STUDY = """
objective: {metric: score, direction: maximize}
budget: {trials: 1}
train: {function: "own:run", is_greedy: {choices: [true, false]}}
run: {workers: 1, device: cpu}
sampler: {name: random}
enqueue: [{train.is_greedy: true}, {train.is_greedy: false}]
tracking: {log_models: none}
"""
CODE = f"""
def run(params, trial):
    if params["train"]["is_greedy"]:
        held = [b"x" * {MIB} for _ in range({2 * LIMIT_MIB})]
    trial.report(1, score=1.0)
"""
#: Joins the group before it becomes the command, so that all its children are in it as well.
JOIN = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_the_kernels_kill_is_told_with_the_limit_and_tried_once_more(sweep: Sweep) -> None:
    sweep.write(STUDY)
    sweep.write_code(CODE)
    with real_group("memory", f"sweeper-test-{os.getpid()}") as group:
        limit_memory(group, LIMIT_MIB * MIB)
        done = run_in(group, sweep)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sweep.states() == {0: "failed", 1: "complete"}
    last = sweep.events(0)[-1]
    assert isinstance(last, Ended)
    assert last.outcome.kind == FailureKind.OUT_OF_MEMORY
    assert last.outcome.retries == 1
    assert last.outcome.cause.startswith(
        "its worker was killed by the kernel, as memory ran out (this job may take 2,000 MiB)"
    )


def run_in(group: Path, sweep: Sweep) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", JOIN, str(group), *sweep.command("run", "sweep.yaml")],
        cwd=sweep.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 2,
    )
