"""Studies on a real Slurm: agents as an array of jobs, and all that befalls them there."""

import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_server import MlflowServer
from postgres_server import Postgres

from sweeper.events import Interrupted
from sweeper.study.find import find_study
from tests.support.slow_trial import CODE, assert_same
from tests.support.slurm_cluster import Cluster, local_slurm, run
from tests.support.sweep import Sweep

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("slurm")]

SMALL = ("--cpus", "1", "--mem", "900M")
LONG = """
budget: {trials: 1}
pruner: {name: none}
data: {name: "own:load", batch_size: 24, validation: 0.2}
model: {architecture: mlp, depth: 1, width: 32, dropout: 0.3}
train: {epochs: 12, learning_rate: {low: 1e-3, high: 1e-2}, schedule: cosine}
run: {workers: 1, device: cpu}
"""


def prepare_long(folder: Path) -> Sweep:
    folder.mkdir()
    sweep = Sweep(folder)
    sweep.write(LONG)
    sweep.write_code(CODE)
    return sweep


def test_a_trial_outlasts_the_time_limit_and_nobody_can_tell(tmp_path: Path) -> None:
    """The limit is two minutes, an undisturbed run would take longer: 12 epochs x 12 s."""
    sweep = prepare_long(tmp_path / "stopped")
    cluster = Cluster(sweep)
    name = cluster.submit("--time", "2m", *SMALL, ROW_S="0.1")
    cluster.wait_until(lambda: cluster.jobs(name, "PENDING") and sweep.epochs(0), 200)
    n_before = len(sweep.epochs(0))
    assert 0 < n_before < 12
    assert not sweep.study().agents(), "the agent gave its lease up"
    sweep.write_code(CODE.replace('os.environ.get("ROW_S", "0.05")', '"0"'))  # the rest is fast
    cluster.wait_until(lambda: not cluster.jobs(name))
    assert sweep.states() == {0: "complete"}
    assert sum(isinstance(event, Interrupted) for event in sweep.events(0)) == 1
    assert sweep.n_resumed() == 1
    sweep.assert_truth(finished=1)

    undisturbed = prepare_long(tmp_path / "undisturbed")
    assert undisturbed.run(ROW_S="0").returncode == 0
    assert_same(sweep, undisturbed, epochs=12)


MANY = """
name: {name}
budget: {{trials: {trials}}}
sampler: {{name: random}}
pruner: {{name: none}}
data: {{name: digits, batch_size: 64}}
model:
  architecture: mlp
  depth: {{low: 1, high: 2}}
  width: {{choices: [16, 64]}}
train:
  epochs: 60
  learning_rate: {{low: 1e-4, high: 1e-1, log: true}}
run: {{workers: 1}}
storage: {storage}
tracking: {{uri: "{uri}", log_models: best}}
"""
TRIALS = 60
AWAY_S = 20


class Site:
    """Three nodes, a database, and MLflow's server with its store in there and S3 behind it.

    Args:
        folder: Empty.
        postgres: Takes the study and MLflow's store.
        bucket: Takes MLflow's artifacts.
    """

    def __init__(self, folder: Path, postgres: Postgres, bucket: str) -> None:
        self.name = f"study-{uuid.uuid4().hex[:8]}"
        self.begun_s = time.monotonic()
        self.story: list[tuple[float, str, int]] = []
        self.postgres = postgres
        database = self.name.replace("-", "_")
        postgres.create(database)
        (folder / "server").mkdir()
        self.mlflow = MlflowServer(
            folder / "server",
            database=postgres.url(database, driver="psycopg"),
            artifacts=f"{bucket}/{self.name}",
        )
        self.sweep = Sweep(folder, name=self.name, uri=self.mlflow.uri)
        storage, uri = postgres.url(), self.mlflow.uri
        self.sweep.write(MANY.format(name=self.name, trials=TRIALS, storage=storage, uri=uri))
        self.cluster = Cluster(self.sweep)

    def n_finished(self) -> int:
        return self.sweep.study().n_finished()

    def note(self, what: str) -> None:
        """What was done to it, and when."""
        self.story.append((time.monotonic() - self.begun_s, what, self.n_finished()))

    def await_agents(self, n_agents: int) -> None:
        """Until so many are at work, of whom each has said so a moment ago."""
        self.cluster.wait_until(lambda: self.n_alive() >= n_agents)

    def n_alive(self) -> int:
        if find_study(self.sweep.file, self.sweep.paths.root).open() is None:
            return 0
        return sum(time.time() - agent.seen_s < 10 for agent in self.sweep.study().agents())

    def await_progress(self) -> None:
        """Until two more trials are finished, so that what was done last has had its effect."""
        wanted = min(self.n_finished() + 2, TRIALS)
        self.cluster.wait_until(lambda: self.n_finished() >= wanted)

    def render_story(self) -> str:
        lines = ["", "| after, s | what | trials finished by then |", "| --- | --- | --- |"]
        lines += [f"| {seconds:.0f} | {what} | {n} |" for seconds, what, n in self.story]
        return "\n".join(lines)


@pytest.fixture
def site(tmp_path: Path, postgres: Postgres, s3_url: str) -> Iterator[Site]:
    site = Site(tmp_path, postgres, s3_url)
    site.mlflow.start()
    yield site
    site.sweep.run("cancel", "sweep.yaml")
    site.mlflow.stop()


@pytest.mark.postgres
def test_an_array_of_agents_on_three_nodes_survives_what_a_cluster_does(site: Site) -> None:
    """Every trouble of a cluster in turn; the total is exact, and MLflow shows each trial once."""
    sweep, cluster = site.sweep, site.cluster
    name = cluster.submit("--jobs", "6", "--partition", "scavenge", *SMALL)
    site.await_agents(4)
    site.note("six agents were submitted, four are at work")
    run("scancel", cluster.jobs(name, "RUNNING")[0])
    run("scontrol", "requeue", cluster.jobs(name, "RUNNING")[-1])
    site.note("one is cancelled, one requeued")
    local_slurm("fail", "n2")
    site.note("node n2 is gone")
    site.mlflow.stop()
    time.sleep(AWAY_S)
    site.await_progress()
    site.mlflow.start()
    site.note(f"MLflow's server is back, which was away for {AWAY_S} s and more")
    local_slurm("restore", "n2")
    site.postgres.crash()
    site.await_progress()
    site.note("node n2 is back; the database was killed and has recovered")
    kill_controller()
    site.await_progress()
    local_slurm("up")
    site.note("Slurm's controller was killed, and is back after two trials")
    run(
        "sbatch",
        "--partition=main",
        "--nodes=3",
        "--exclusive",
        "--output=/dev/null",
        "--wrap=sleep 5",
    )
    cluster.wait_until(lambda: not cluster.jobs(name, "RUNNING", "COMPLETING"))
    site.note("a job of a higher partition took all nodes")
    cluster.wait_until(lambda: site.n_finished() >= TRIALS, 600)
    cluster.wait_until(lambda: not cluster.jobs(name, "RUNNING", "COMPLETING"))
    assert sweep.run("sync", "sweep.yaml").returncode == 0
    site.note("the goal is reached and MLflow has everything")
    print(site.render_story())

    sweep.assert_truth(finished=TRIALS)
    tags = [run_.data.tags for run_ in sweep.runs()]
    assert all(tag["sweeper.host"] for tag in tags)
    jobs = {tag["sweeper.job"] for tag in tags}
    interrupted = [
        e for n in sweep.states() for e in sweep.events(n) if isinstance(e, Interrupted)
    ]
    print(f"{len(jobs)} jobs; trials went on {sweep.n_resumed()} times, {len(interrupted)} stops")
    assert len(jobs) > 2
    assert sweep.n_resumed() > 0
    assert not cluster.jobs(name), "nothing waits once the goal is reached"


def kill_controller() -> None:
    """As a crash of its machine would."""
    pid_file = Path(os.environ["SLURM_CONF"]).parent / "run" / "slurmctld.pid"
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
