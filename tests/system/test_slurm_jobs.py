"""The batch script on a real Slurm, with a shell program in the place of the agent."""

import json
import re
import shlex
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

import pytest

from sweeper.durable import CRASH_VARIABLE
from tests.support.slurm_cluster import Cluster, run, write_agent
from tests.support.sweep import STUDY, Sweep

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
        return super().submit(
            "--python", shlex.quote(str(self._agent)), *SMALL, *words, **environment
        )

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


@pytest.mark.gate
def test_each_task_of_the_array_is_an_agent_and_the_goal_ends_those_that_wait(
    cluster: Rehearsal,
) -> None:
    name = cluster.submit("--jobs", "5", "--array-parallelism", "2")
    cluster.wait_to_hear(began(0), began(1))
    [submission] = cluster.submissions()
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


#: Deaf to USR1, so that Slurm's grace time of 10 s is over before the agent is.
DEAF = """#!/bin/bash
cd "$(dirname "$0")"
trap 'echo "$SLURM_ARRAY_TASK_ID USR1" >>heard' USR1
trap 'exit 4' TERM
echo "$SLURM_ARRAY_TASK_ID began $*" >>heard
until [ -e goal ]; do sleep 0.1; done
"""


@pytest.fixture
def preempted(cluster: Rehearsal) -> Iterator[str]:
    """The name of a job that has heard of it, and whose agent takes its time."""
    (cluster.sweep.folder / "agent").write_text(DEAF)
    name = cluster.submit("--partition", "scavenge")
    cluster.wait_to_hear(began(0))
    words = ("--partition=main", "--nodes=3", "--exclusive", "--output=/dev/null")
    other = run("sbatch", "--parsable", *words, "--wrap=sleep 600").strip()
    cluster.wait_to_hear("0 USR1")
    yield name
    run("scancel", other)


@pytest.mark.gate
@pytest.mark.slow
def test_a_job_that_slurm_itself_puts_back_is_not_submitted_twice(
    cluster: Rehearsal, preempted: str
) -> None:
    cluster.wait_until(lambda: cluster.jobs(preempted, "PENDING"))
    assert len(cluster.jobs(preempted)) == 1
    run("scancel", *cluster.jobs(preempted))


@pytest.mark.slow
def test_scancel_is_the_end_also_within_the_grace_time(cluster: Rehearsal, preempted: str) -> None:
    run("scancel", cluster.jobs(preempted)[0])
    cluster.wait_until(lambda: not cluster.jobs(preempted))


def test_a_folder_may_have_any_name_and_variables_overrule_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "50 % off, it's"
    folder.mkdir()
    cluster = Rehearsal(folder)
    cluster.reach_goal()
    name = cluster.submit(
        *("--sbatch", "comment=two 'words'", "--sbatch", "exclusive"),
        SBATCH_OUTPUT="/dev/null",
        SBATCH_ARRAY_INX="0-4",
        SBATCH_JOB_NAME="mine",
        SBATCH_EXPORT="NONE",
        SBATCH_NO_REQUEUE="1",
        SBATCH_WAIT="1",
        SQUEUE_STATES="CG",
    )
    cluster.wait_until(lambda: cluster.heard() and not cluster.jobs(name))
    assert cluster.heard() == [began(0)]
    [submission] = cluster.submissions()
    assert [path.name for path in submission.logs(cluster.sweep.paths)] == [
        f"{submission.job}_0.log"
    ]
    assert submission.job is not None
    shown = run("scontrol", "show", "job", submission.job)
    assert "Comment=two 'words'" in shown
    assert "Requeue=1" in shown


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


@pytest.mark.gate
def test_a_refusal_leaves_no_trace(cluster: Rehearsal) -> None:
    done = cluster.sweep.run("submit", "sweep.yaml", "--to", "slurm", "--partition", "nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith("sbatch: sbatch: error: invalid partition specified: nowhere")
    assert list(cluster.sweep.paths.submissions_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("point", "found", "mended"),
    [
        ("submit.after", "so it did not, or they ended without a word; --fix removes the fol", 0),
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
    [submission] = cluster.submissions()
    assert submission.job is None
    if mended == 0:
        diagnosis = cluster.sweep.run("doctor", "sweep.yaml", "--fix")
        assert "that may be under way still: ask again in 10 min" in diagnosis.stdout
        old = replace(submission, begun_s=time.time() - 3600)
        cluster.sweep.paths.submission(old.name).write_text(json.dumps(asdict(old)))
    diagnosis = cluster.sweep.run("doctor", "sweep.yaml")
    assert diagnosis.returncode == 1
    assert "it was not noted whether Slurm took the jobs" in diagnosis.stdout
    assert found in diagnosis.stdout
    assert cluster.sweep.run("doctor", "sweep.yaml", "--fix").returncode == 0
    assert len(cluster.submissions()) == mended
    assert all(s.job is not None for s in cluster.submissions())
    cluster.reach_goal()
    cluster.wait_until(lambda: not cluster.jobs(submission.job_name))


def test_jobs_of_a_study_that_has_not_begun_can_be_cancelled(cluster: Rehearsal) -> None:
    name = cluster.submit("--begin", "1h", "--jobs", "3")
    assert len(cluster.jobs(name, "PENDING")) == 3
    shown = cluster.sweep.run("status", "sweep.yaml").stdout
    assert "goal     has not begun: no agent is at work yet\njobs     slurm " in shown
    assert shown.count(" pending (") == 3
    done = cluster.sweep.run("cancel", "sweep.yaml")
    assert done.returncode == 0, done.stderr
    assert "3 Slurm jobs cancelled, 3 of them waiting" in done.stdout
    cluster.wait_until(lambda: not cluster.jobs(name))


@pytest.mark.slow
def test_jobs_of_agents_that_were_asked_to_stop_end_by_themselves(tmp_path: Path) -> None:
    """So nothing that they still send to MLflow is cut off by scancel."""
    sweep = Sweep(tmp_path)
    sweep.write(STUDY.format(trials=1, epochs=5000, workers=1))
    cluster = Cluster(sweep)
    name = cluster.submit("--cpus", "1", "--mem", "900M")
    cluster.wait_until(lambda: sweep.paths.trial_numbers() and len(sweep.epochs(0)) > 1)
    done = sweep.run("cancel", "sweep.yaml")
    assert done.returncode == 0, done.stderr
    assert "1 agent stopped\n0 Slurm jobs cancelled, 0 of them waiting\n" in done.stdout
    assert cluster.jobs(name) == []
    assert sweep.states() == {0: "waiting"}
    [sent] = sweep.runs()
    sweep.assert_curves(0, sent)
