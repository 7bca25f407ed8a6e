"""The batch script under bash, with small programs in the place of Slurm's commands."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sweeper.config.cluster import ClusterSpec
from sweeper.launchers.schedule import Schedule
from sweeper.launchers.slurm.script import AgentCommand, render_script
from sweeper.launchers.submission import Submission

NAME = "sweeper-mnist-3f2a9c1b"
DAY_S = 86_400
CANCELLED = "kill -TERM $PPID; sleep 0.3; exit 4"
NOTICED = "kill -USR1 $PPID; sleep 0.3; exit 4"


class Rehearsal:
    """One job of the submission, whose commands are noted one a line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bin = folder / "bin"
        self._bin.mkdir()
        for command in ("squeue", "sbatch", "scancel"):
            self.does(command, "")
        self.does("scontrol", 'case $1 in show) echo "Restarts=0 PreemptTime=None" ;; esac')
        self.does("agent", "exit 0")

    def does(self, command: str, script: str) -> None:
        program = self._bin / command
        program.write_text(f'#!/bin/bash\necho "{command} $*" >>{self.folder}/calls\n{script}\n')
        program.chmod(0o755)

    def calls(self, command: str) -> list[str]:
        """Its words, of each time that it was called."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{command} ")]

    def run(
        self,
        *setup: str,
        schedule: Schedule | None = None,
        name: str = NAME,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        script = self.folder / "job.sh"
        script.write_text(
            render_script(
                Submission("3f2a9c1b", "mnist", "slurm", 0.0),
                ClusterSpec(setup=list(setup)),
                AgentCommand(str(self._bin / "agent"), Path("mnist.yaml"), self.folder),
                log_dir=self.folder,
                schedule=schedule,
            )
        )
        variables = {
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "SLURM_ARRAY_JOB_ID": "17",
            "SLURM_ARRAY_TASK_ID": "0",
            "SLURM_JOB_NAME": name,
            **environment,
        }
        return subprocess.run(
            ["bash", str(script)], env=variables, capture_output=True, text=True, timeout=60
        )


@pytest.fixture
def job(tmp_path: Path) -> Rehearsal:
    return Rehearsal(tmp_path)


def test_the_goal_ends_those_that_wait(job: Rehearsal) -> None:
    assert job.run().returncode == 0
    assert job.calls("agent") == ["-m sweeper run mnist.yaml"]
    [words] = job.calls("scancel")
    assert words.startswith("--quiet --state=PENDING")


@pytest.mark.parametrize(
    ("agent", "state", "n_requeued"),
    [
        (NOTICED, "Restarts=0 PreemptTime=None", 1),
        (CANCELLED, "Restarts=0 PreemptTime=None", 0),
        (CANCELLED, "Restarts=0 PreemptTime=2026-11-25T17:39:53", 1),
        (f"kill -USR1 $PPID; sleep 0.3; {CANCELLED}", "Restarts=0 PreemptTime=2026-11-25T17", 0),
        (f"kill -USR1 $PPID; sleep 0.3; {CANCELLED}", "Reason=TimeLimit Restarts=0", 1),
        ("exit 1", "Restarts=0 PreemptTime=2026-11-25T17:39:53", 0),
    ],
    ids=["notice", "scancel", "preempted", "scancel in the grace time", "too slow", "failure"],
)
def test_a_job_goes_on_unless_a_user_has_cancelled_it(
    job: Rehearsal, agent: str, state: str, n_requeued: int
) -> None:
    job.does("agent", f"trap '' USR1\n{agent}")
    job.does("scontrol", f'case $1 in show) echo "{state}" ;; esac')
    assert job.run().returncode == (1 if agent == "exit 1" else 4)
    requeued = [words for words in job.calls("scontrol") if words.startswith("requeue")]
    assert requeued == ["requeue 17_0"] * n_requeued
    assert job.calls("sbatch") == []


def test_the_notice_reaches_an_agent_at_work(job: Rehearsal) -> None:
    # First the script must wait for it, as a notice before that is forwarded at another place.
    at_work = "sleep 0.5; kill -USR1 $PPID; for i in {1..100}; do sleep 0.1; done; exit 1"
    job.does("agent", f"trap 'exit 4' USR1\n{at_work}")
    assert job.run().returncode == 4
    assert "requeue 17_0" in job.calls("scontrol")


@pytest.mark.parametrize(("restarts", "n_new"), [(1, 1), (2, 0)])
def test_a_new_job_stands_in_only_where_slurm_has_not_put_this_one_back(
    job: Rehearsal, restarts: int, n_new: int
) -> None:
    job.does("agent", f"trap '' USR1\n{NOTICED}")
    job.does("scontrol", f'case $1 in show) echo "Restarts={restarts}" ;; *) exit 1 ;; esac')
    job.does("sbatch", "echo ${SLURM_RESTART_COUNT:-fresh}")
    done = job.run(SLURM_RESTART_COUNT="1")
    assert len(job.calls("sbatch")) == n_new
    assert done.stdout == "fresh\n" * n_new, "the new job has not been restarted"


def test_a_signal_during_the_setup_starts_nothing(job: Rehearsal) -> None:
    done = job.run("kill -TERM $$", schedule=Schedule(0, DAY_S))
    assert done.returncode == 4
    assert job.calls("agent") == job.calls("sbatch") == []


def test_options_of_the_shell_that_the_setup_sets_do_no_harm(job: Rehearsal) -> None:
    job.does("agent", f"trap '' USR1\n{NOTICED}")
    assert job.run("set -eu").returncode == 4
    assert "requeue 17_0" in job.calls("scontrol")


def test_tastes_of_the_user_decide_nothing(job: Rehearsal) -> None:
    job.does("agent", "env | grep -c -E '^(SQUEUE|SCANCEL|SBATCH)_' ; exit 0")
    variables: dict[str, Any] = {
        "SQUEUE_STATES": "CG",
        "SCANCEL_STATE": "R",
        "SBATCH_EXPORT": "NONE",
    }
    assert job.run(**variables).stdout == "0\n"


def next_of(job: Rehearsal) -> int:
    """When the one job that was submitted is planned."""
    [words] = job.calls("sbatch")
    name, begin, _ = words.split()
    planned_s = int(name.removeprefix(f"--job-name={NAME}-"))
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(planned_s))
    assert begin == f"--begin={moment}"
    return planned_s


def test_a_schedule_goes_on_in_its_rhythm(job: Rehearsal) -> None:
    begin_s = int(time.time()) - 5 * DAY_S - 60
    job.run(schedule=Schedule(begin_s, DAY_S))
    assert next_of(job) == begin_s + 6 * DAY_S


def test_a_job_that_starts_before_its_time_does_not_take_itself_for_the_next(
    job: Rehearsal,
) -> None:
    planned_s = int(time.time()) + 60
    name = f"{NAME}-{planned_s}"
    job.does("squeue", f"case $* in *--name={name}) echo 17_0 ;; esac")
    job.run(schedule=Schedule(planned_s - DAY_S, DAY_S), name=name)
    assert next_of(job) == planned_s + DAY_S


def test_a_schedule_tries_again_before_it_gives_up(job: Rehearsal) -> None:
    job.does("sleep", "")
    job.does("sbatch", f"[ $(grep -c ^sbatch {job.folder}/calls) -ge 3 ]")
    done = job.run(schedule=Schedule(int(time.time()), DAY_S))
    assert len(job.calls("sbatch")) == 3
    assert done.stderr == ""
    job.does("sbatch", "exit 1")
    done = job.run(schedule=Schedule(int(time.time()), DAY_S))
    assert "the schedule ends here, as Slurm did not take its next job" in done.stderr
    assert done.returncode == 0, "the agent has worked all the same"


def test_a_next_job_that_is_there_is_not_submitted_again(job: Rehearsal) -> None:
    job.does("squeue", "case $* in *--name=*) echo 18_0 ;; esac")
    job.run(schedule=Schedule(int(time.time()), DAY_S))
    assert job.calls("sbatch") == []


@pytest.mark.parametrize(
    ("others", "n_agents"),
    [([NAME], 0), ([f"{NAME}-500"], 0), ([f"{NAME}-2000", f"{NAME}-1000"], 1), ([], 1)],
)
def test_one_of_a_schedule_leaves_the_field_to_an_earlier_one(
    job: Rehearsal, others: list[str], n_agents: int
) -> None:
    shown = "\\n".join([*others, f"{NAME}-1000"])
    job.does("squeue", f"case $* in *--format=%j) echo -e '{shown}' ;; esac")
    done = job.run(schedule=Schedule(0, DAY_S), name=f"{NAME}-1000")
    assert done.returncode == 0
    assert len(job.calls("sbatch")) == 1, "the schedule goes on"
    assert ("an earlier one of the schedule" in done.stderr) is (n_agents == 0)
    assert (len(job.calls("scancel")), len(job.calls("agent"))) == (n_agents, n_agents)
