"""A real Slurm under test: studies submitted to it by the command, and what its queue shows."""

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.launchers.submission import Submission, read_submissions
from tests.support.sweep import Sweep

#: Slurm holds a job that was put back for two minutes, and looks every few seconds.
PATIENCE_S = 300


class Cluster:
    """Jobs of one study in ``folder``."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def submit(self, *words: str, **environment: str) -> str:
        """``sweeper submit sweep.yaml --to slurm``; the name that its jobs begin with."""
        done = self.sweep.run("submit", "sweep.yaml", "--to", "slurm", *words, **environment)
        assert done.returncode == 0, done.stderr
        found = re.search(r"as Slurm job \d+, named (\S+)", done.stdout)
        assert found is not None, done.stdout
        return found[1]

    def jobs(self, name: str, *states: str) -> list[str]:
        """Ids of jobs whose name begins so, in any of these states; all of them without one."""
        lines = run(
            "squeue", "--me", "--all", "--noheader", "--array", "--format=%i|%j|%T"
        ).splitlines()
        jobs = [line.split("|") for line in lines]
        return [
            id
            for id, job_name, state in jobs
            if job_name.startswith(name) and (not states or state in states)
        ]

    def submissions(self) -> list[Submission]:
        return read_submissions(self.sweep.paths, lambda damage: pytest.fail(str(damage)))

    def logs(self) -> str:
        """All that the jobs have printed, for a test that failed."""
        found = sorted(self.sweep.paths.submissions_dir.glob("*/*.log"))
        return "\n".join(f"== {path.name}\n{path.read_text()}" for path in found)

    def wait_until(self, is_true: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
        deadline_s = time.monotonic() + patience_s
        while not is_true():
            if time.monotonic() > deadline_s:
                pytest.fail(f"waited in vain:\n{run('squeue')}\n{self.logs()}")
            time.sleep(0.5)


def run(*command: str) -> str:
    """A command of Slurm that must succeed; what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def local_slurm(*words: str) -> None:
    """The program that runs this cluster on one machine, where it is such a one."""
    program = os.environ.get("LOCAL_SLURM")
    if program is None:
        pytest.skip("$LOCAL_SLURM names no program that can fail a node")
    subprocess.run([program, *words], check=True, capture_output=True)


def write_agent(path: Path) -> None:
    """A shell program in the place of ``python``: it says what it is told and obeys at once.

    So the batch script can be seen at work without a study. It ends with 0 once there is a file
    ``goal`` beside it.
    """
    path.write_text(
        "#!/bin/bash\n"
        'cd "$(dirname "$0")"\n'
        'note() { echo "$SLURM_ARRAY_TASK_ID $*" >>heard; }\n'
        "trap 'note USR1; exit 4' USR1\n"
        "trap 'note TERM; exit 4' TERM\n"
        'note "began $*"\n'
        "until [ -e goal ]; do sleep 0.1; done\n"
    )
    path.chmod(0o755)
