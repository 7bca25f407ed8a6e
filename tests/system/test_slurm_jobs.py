"""The batch script on a real Slurm, with a shell program in the place of the agent."""

import re
import signal
from datetime import datetime
from pathlib import Path

import pytest
from slurm_cluster import Cluster, run, write_agent
from sweep import STUDY, Sweep

from sweeper.durable import CRASH_VARIABLE
from sweeper.launchers.submission import read_submissions

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]

SMALL = ("--mem", "50M", "--cpus", "1")


class Rehearsal(Cluster):
    """Jobs whose agent is the shell program."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Sweep(folder))
        self.sweep.write(STUDY.format(trials=1, epochs=1, workers=1))
        self._agent = folder / "agent"
        write_agent(self._agent)

    def submit(self, *words: str, **environment: str) -> str:
        return super().submit("--python", str(self._agent), *SMALL, *words, **environment)

    def heard(self) -> list[str]:
        """What the agents were told, as ``task what``."""
        path = self.sweep.folder / "heard"
        return path.read_text().splitlines() if path.exists() else []

    def wait_to_hear(self, *lines: str) -> None:
        self.wait_until(lambda: all(self.heard().count(line) >= 1 for line in lines))

    def reach_goal(self) -> None:
        (self.sweep.folder / "goal").touch()


@pytest.fixture
def cluster(tmp_path: Path) -> Rehearsal:
    return Rehearsal(tmp_path)


def began(task: int) -> str:
    return f"{task} began -m sweeper run sweep.yaml"


def test_each_task_of_the_array_is_an_agent_and_the_goal_ends_those_that_wait(
    cluster: Rehearsal,
) -> None:
    name = cluster.submit("--jobs", "5", "--array-parallelism", "2")
    cluster.wait_to_hear(began(0), began(1))
    [submission] = read_submissions(cluster.sweep.paths)
    assert submission.job is not None
    assert len(cluster.jobs(name, "PENDING")) == 3
    cluster.reach_goal()
    cluster.wait_until(lambda: not cluster.jobs(name))
    states = run("scontrol", "show", "job", submission.job)
    assert states.count("JobState=COMPLETED") == 2
    assert states.count("JobState=CANCELLED") >= 1


@pytest.mark.slow
def test_the_time_limit_puts_each_task_back_once(cluster: Rehearsal) -> None:
    name = cluster.submit("--jobs", "2", "--time", "2m")
    cluster.wait_to_hear("0 USR1", "1 USR1")
    cluster.wait_until(lambda: len(cluster.jobs(name, "PENDING")) == 2)
    assert len(cluster.jobs(name)) == 2
    cluster.wait_until(lambda: cluster.heard().count(began(0)) == 2)
    cluster.reach_goal()
    cluster.wait_until(lambda: not cluster.jobs(name))


def test_scancel_is_the_end_of_a_job(cluster: Rehearsal) -> None:
    name = cluster.submit("--jobs", "2")
    cluster.wait_to_hear(began(0), began(1))
    run("scancel", cluster.jobs(name)[0])
    cluster.wait_until(lambda: len(cluster.jobs(name)) == 1)
    assert [line for line in cluster.heard() if "USR1" in line] == []
    cluster.reach_goal()
    cluster.wait_until(lambda: not cluster.jobs(name))


def test_a_failure_that_would_come_again_is_not_tried_again(cluster: Rehearsal) -> None:
    (cluster.sweep.folder / "agent").write_text("#!/bin/bash\necho no >>heard; exit 1\n")
    name = cluster.submit("--jobs", "1")
    cluster.wait_until(lambda: cluster.heard() and not cluster.jobs(name))
    assert cluster.heard() == ["no"]


def test_a_schedule_submits_its_next_before_it_begins(cluster: Rehearsal) -> None:
    name = cluster.submit("--every", "1d")
    cluster.wait_to_hear(began(0))
    [waiting] = cluster.jobs(name, "PENDING")
    begin = re.search(r"StartTime=(\S+)", run("scontrol", "show", "job", waiting))
    assert begin is not None
    hours = (datetime.fromisoformat(begin[1]) - datetime.now()).total_seconds() / 3600
    assert 23.9 < hours < 24
    cluster.reach_goal()
    cluster.wait_until(lambda: not cluster.jobs(name, "RUNNING", "COMPLETING"))
    assert len(cluster.jobs(name, "PENDING")) == 1, "reaching the goal ends no schedule"
    assert cluster.sweep.run("cancel", "sweep.yaml").returncode == 0
    cluster.wait_until(lambda: not cluster.jobs(name))


@pytest.mark.slow
def test_a_schedule_fires_again_and_again(cluster: Rehearsal) -> None:
    cluster.reach_goal()
    name = cluster.submit("--every", "1m")
    cluster.wait_until(lambda: cluster.heard().count(began(0)) >= 3)
    assert len(cluster.jobs(name, "PENDING")) == 1
    run("scancel", *cluster.jobs(name))


def test_a_refusal_leaves_no_trace(cluster: Rehearsal) -> None:
    done = cluster.sweep.run("submit", "sweep.yaml", "--to", "slurm", "--partition", "nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith("sbatch: sbatch: error: invalid partition specified: nowhere")
    assert list(cluster.sweep.paths.submissions_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("point", "found", "mended"),
    [
        ("submit.after", "so it did not, or they have ended; --fix removes the folder", 0),
        ("submitted.before", "it did, as", 1),
    ],
)
def test_a_crash_beside_sbatch_is_explained(
    cluster: Rehearsal, point: str, found: str, mended: int, tmp_path: Path
) -> None:
    armed = tmp_path / "armed"
    armed.mkdir()
    (armed / point).touch()
    words = ("submit", "sweep.yaml", "--to", "slurm", "--python", str(tmp_path / "agent"), *SMALL)
    done = cluster.sweep.run(*words, **{CRASH_VARIABLE: str(armed)})
    assert done.returncode == -signal.SIGKILL
    [submission] = read_submissions(cluster.sweep.paths)
    assert submission.job is None
    diagnosis = cluster.sweep.run("doctor", "sweep.yaml")
    assert diagnosis.returncode == 1
    assert "it was not noted whether Slurm took the jobs" in diagnosis.stdout
    assert found in diagnosis.stdout
    assert cluster.sweep.run("doctor", "sweep.yaml", "--fix").returncode == 0
    assert len(read_submissions(cluster.sweep.paths)) == mended
    assert all(s.job is not None for s in read_submissions(cluster.sweep.paths))
    cluster.reach_goal()
    cluster.wait_until(lambda: not cluster.jobs(submission.job_name))


def test_jobs_of_a_study_that_has_not_begun_can_be_cancelled(cluster: Rehearsal) -> None:
    name = cluster.submit("--begin", "1h", "--jobs", "3")
    assert len(cluster.jobs(name, "PENDING")) == 3
    shown = cluster.sweep.run("status", "sweep.yaml").stdout
    assert "goal     has not begun: no agent is at work yet\njobs     slurm " in shown
    assert shown.count(" pending (BeginTime)") == 3
    done = cluster.sweep.run("cancel", "sweep.yaml")
    assert done.returncode == 0, done.stderr
    assert "3 Slurm jobs cancelled, 3 of them waiting" in done.stdout
    cluster.wait_until(lambda: not cluster.jobs(name))
