"""Nodes that have a database and an object store in common, and no folder."""

import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec
import pytest
from mlflow_server import MlflowServer

from sweeper.events import Interrupted, Started
from tests.support.slow_trial import BATCHES, CODE, EPOCHS, STUDY, assert_same, n_trained
from tests.support.sweep import PATIENCE_S, Sweep, kill_group, wait_until, worker_pids

pytestmark = pytest.mark.slow

MORE = """
name: {name}
storage: {storage}
tracking: {{uri: "{uri}"}}
"""
#: Epochs of 6 s, so that the trial is pushed after the second one.
LONG = 6


@dataclass(frozen=True)
class Cluster:
    """What nodes of one study have in common."""

    folder: Path
    name: str
    storage: str
    uri: str
    object_store: str

    def node(self, name: str, *, epochs: int = EPOCHS) -> Sweep:
        """A folder of its own with the study file in it."""
        sweep = Sweep(self.folder / name, name=self.name, uri=self.uri)
        sweep.folder.mkdir()
        text = STUDY.replace("device: cpu", f'device: cpu, object_store: "{self.object_store}"')
        text = text.replace(f"epochs: {EPOCHS}", f"epochs: {epochs}")
        more = MORE.format(name=self.name, storage=self.storage, uri=self.uri)
        sweep.write(text + more)
        sweep.write_code(CODE)
        return sweep

    def undisturbed(self, *, epochs: int = EPOCHS) -> Sweep:
        """The same study in a folder of its own, with nothing in common."""
        sweep = Sweep(self.folder / "undisturbed")
        sweep.folder.mkdir()
        sweep.write(STUDY.replace(f"epochs: {EPOCHS}", f"epochs: {epochs}"))
        sweep.write_code(CODE)
        done = sweep.run()
        assert done.returncode == 0, done.stderr
        return sweep

    def objects(self) -> list[str]:
        """All that lies in the object store."""
        system, root = fsspec.core.url_to_fs(self.object_store)
        system.invalidate_cache()
        return list(system.find(root))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def cluster(s3_url: str, postgres_url: str, server: MlflowServer, tmp_path: Path) -> Cluster:
    name = f"study-{uuid.uuid4().hex}"
    return Cluster(tmp_path, name, postgres_url, server.uri, f"{s3_url}/{name}")


def assert_one_whole_run(node: Sweep, *, epochs: int) -> None:
    """MLflow has one run of the trial, with each epoch once and a model."""
    [run] = node.runs()
    assert (run.info.status, run.data.tags["sweeper.resumed"]) == ("FINISHED", "1")
    client = node.client()
    for name in ("train_loss", "val_accuracy", "epoch_seconds"):
        history = client.get_metric_history(run.info.run_id, name)
        assert [point.step for point in history] == list(range(1, epochs + 1))
    assert client.search_logged_models(
        [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
    )


@pytest.mark.postgres
def test_another_node_goes_on_at_the_batch_where_the_first_one_stopped(cluster: Cluster) -> None:
    first, second = cluster.node("first"), cluster.node("second")
    agent = first.start()
    try:
        wait_until(lambda: n_trained(first) >= BATCHES + 2)
        agent.send_signal(signal.SIGTERM)
        output = agent.communicate(timeout=60)[0]
    finally:
        kill_group(agent)
    assert agent.returncode == 4, output
    assert "object_store" not in output, "something was wrong with it"
    [before] = first.runs()
    done = second.run()
    assert done.returncode == 0, done.stderr
    assert [run.info.run_id for run in second.runs()] == [before.info.run_id]
    assert n_trained(first) + n_trained(second) == EPOCHS * BATCHES
    second.assert_truth(finished=1)
    assert_one_whole_run(second, epochs=EPOCHS)
    assert_same(second, cluster.undisturbed(), epochs=EPOCHS)
    kinds = [type(event) for event in second.events(0)]
    assert kinds.count(Started) == 2
    assert kinds.count(Interrupted) == 1
    assert cluster.objects() == []


@pytest.mark.postgres
def test_of_a_node_that_vanished_what_it_pushed_is_gone_on_with(cluster: Cluster) -> None:
    """All its processes are killed and its folder is no more; the other one waits for that."""
    first, second = cluster.node("first", epochs=LONG), cluster.node("second", epochs=LONG)
    agent = first.start()
    pids = [agent.pid]
    try:
        wait_until(lambda: any(path.endswith(".json") for path in cluster.objects()))
        n_pushed = len(first.epochs(0))
        wait_until(lambda: n_trained(first) > n_pushed * BATCHES)
        pids += worker_pids(agent)
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGKILL)
        kill_group(agent)
        agent.wait()
    shutil.rmtree(first.folder)
    done = second.run()
    assert done.returncode == 0, done.stderr
    assert 1 <= n_pushed < LONG
    assert n_trained(second) <= (LONG - n_pushed + 1) * BATCHES, "it began at epoch 1"
    assert n_trained(second) < LONG * BATCHES
    assert_one_whole_run(second, epochs=LONG)
    assert_same(second, cluster.undisturbed(epochs=LONG), epochs=LONG)
    assert cluster.objects() == []


def test_an_object_store_that_fails_stops_no_trial_and_is_told(sweep: Sweep) -> None:
    folder = sweep.folder / "object_store"
    folder.mkdir()
    text = STUDY.replace(f"epochs: {EPOCHS}", f"epochs: {LONG}")
    sweep.write(text.replace("device: cpu", f'device: cpu, object_store: "file://{folder}"'))
    sweep.write_code(CODE)
    agent = sweep.start()
    try:
        wait_until(lambda: n_trained(sweep) >= 1)
        folder.rmdir()
        folder.write_text("no folder any more")
        output = agent.communicate(timeout=PATIENCE_S)[0]
    finally:
        kill_group(agent)
    assert agent.returncode == 0, output
    assert f"file://{folder}: the object store cannot be used: NotADirectoryError: " in output
    assert output.count("Training goes on") == 1
    assert sweep.states() == {0: "complete"}
