"""Studies on a real Slurm: agents as an array of jobs, and all that befalls them there."""

import re
import uuid
from pathlib import Path

import pytest
import torch
from mlflow_server import MlflowServer
from slurm_cluster import Cluster, local_slurm, run
from sweep import Sweep

from sweeper.events import Interrupted

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("slurm")]

SMALL = ("--cpus", "1", "--mem", "900M")
#: Rows are slow on demand, so that a trial outlasts a time limit; the numbers stay the same.
CODE = """
import os
import time
import torch
from torch.utils.data import Dataset


class Rows(Dataset):
    def __init__(self):
        self.inputs = torch.rand(120, 8, generator=torch.Generator().manual_seed(0))
        self.targets = torch.arange(120) % 3

    def __len__(self):
        return 120

    def __getitem__(self, row):
        time.sleep(float(os.environ.get("ROW_S", 0)))
        return self.inputs[row], self.targets[row]


def load():
    return Rows(), None
"""
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


def weights(sweep: Sweep) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(sweep.paths.model(0), weights_only=True)
    return found


def test_a_trial_outlasts_the_time_limit_and_nobody_can_tell(tmp_path: Path) -> None:
    """The limit is two minutes, an undisturbed run would take longer: 12 epochs x 12 s."""
    sweep = prepare_long(tmp_path / "stopped")
    cluster = Cluster(sweep)
    name = cluster.submit("--time", "2m", *SMALL, ROW_S="0.1")
    cluster.wait_until(lambda: cluster.jobs(name, "PENDING") and sweep.epochs(0), 200)
    n_before = len(sweep.epochs(0))
    assert 0 < n_before < 12
    assert not sweep.study().agents(), "the agent gave its lease up"
    # The rest need not be slow as well.
    (sweep.folder / "own.py").write_text(CODE.replace('environ.get("ROW_S", 0)', "devnull and 0"))
    cluster.wait_until(lambda: not cluster.jobs(name))
    assert sweep.states() == {0: "complete"}
    assert sum(isinstance(event, Interrupted) for event in sweep.events(0)) == 1
    assert sweep.n_resumed() == 1
    sweep.assert_truth(finished=1)

    undisturbed = prepare_long(tmp_path / "undisturbed")
    assert undisturbed.run().returncode == 0
    assert weights(sweep).keys() == weights(undisturbed).keys()
    for key, values in weights(undisturbed).items():
        torch.testing.assert_close(weights(sweep)[key], values, rtol=0, atol=0)
    curve = [epoch.values["val_loss"] for epoch in sweep.epochs(0)]
    assert curve == [epoch.values["val_loss"] for epoch in undisturbed.epochs(0)]


MANY = """
name: {name}
budget: {{trials: {trials}}}
data: {{name: digits, batch_size: 64}}
model:
  architecture: mlp
  depth: {{low: 1, high: 2}}
  width: {{choices: [16, 64]}}
train:
  epochs: 20
  learning_rate: {{low: 1e-4, high: 1e-1, log: true}}
run: {{workers: 1}}
storage: {storage}
tracking: {{uri: {uri}, log_models: best}}
"""
TRIALS = 60


@pytest.mark.postgres
def test_an_array_of_agents_on_three_nodes_survives_what_a_cluster_does(
    postgres_url: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One agent cancelled, one requeued, a node lost and back; MLflow's server away for 20 s."""
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    sweep = Sweep(tmp_path, name=f"study-{uuid.uuid4().hex[:8]}", uri=server.uri)
    text = MANY.format(name=sweep.name, trials=TRIALS, storage=postgres_url, uri=server.uri)
    sweep.write(text)
    cluster = Cluster(sweep)
    try:
        name = cluster.submit("--jobs", "6", *SMALL)
        cluster.wait_until(lambda: len(sweep.study().agents()) >= 4 if begun(sweep) else False)
        first, second, *_ = cluster.jobs(name, "RUNNING")
        run("scancel", first)
        run("scontrol", "requeue", second)
        local_slurm("fail", "n2")
        server.stop()
        n_finished = sweep.study().n_finished()
        cluster.wait_until(lambda: sweep.study().n_finished() >= n_finished + 3)
        server.start()
        local_slurm("restore", "n2")
        assert "agents   " in sweep.run("status", "sweep.yaml").stdout
        cluster.wait_until(lambda: sweep.study().n_finished() >= TRIALS)
        cluster.wait_until(lambda: not cluster.jobs(name, "RUNNING", "COMPLETING"))
        assert sweep.run("sync", "sweep.yaml").returncode == 0
        sweep.assert_truth(finished=TRIALS)
        tags = [run_.data.tags for run_ in sweep.runs()]
        assert all(tag["sweeper.host"] for tag in tags)
        assert len({tag["sweeper.job"] for tag in tags}) >= 2
        assert any("sweeper.resumed" in tag for tag in tags), "trials of lost agents went on"
        assert not cluster.jobs(name), "nothing waits once the goal is reached"
    finally:
        sweep.run("cancel", "sweep.yaml")
        server.stop()


def begun(sweep: Sweep) -> bool:
    return bool(re.search("finished", sweep.run("status", "sweep.yaml").stdout))
