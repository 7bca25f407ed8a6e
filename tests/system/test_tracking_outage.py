"""A tracking server that is away: training does not notice, and MLflow ends with everything."""

import time
from collections.abc import Iterator

import mlflow
import numpy as np
import pytest
from mlflow_server import MlflowServer

from sweeper.events import Started
from tests.support.sweep import Sweep, kill_group, wait_until

pytestmark = pytest.mark.slow

OUTAGE_S = 30
#: An epoch takes at least 26 batches x 5 ms, so that a fast machine is not done too early.
STUDY = """
budget: {{trials: {trials}}}
sampler: {{name: random}}
pruner: {{name: none}}
data: {{name: digits, batch_size: 64}}
model: {{architecture: "own:build", width: {{low: 8, high: 64}}}}
train: {{epochs: {epochs}, learning_rate: {{low: 1e-4, high: 1e-1, log: true}}}}
run: {{workers: 2}}
tracking: {{uri: "{uri}"}}
"""
#: It goes no further while there is a file "pause", as a server starts slowly on a busy machine.
CODE = """
import os, time
from torch import nn


class Net(nn.Sequential):
    def forward(self, inputs):
        if self.training:
            time.sleep(0.005)
        while os.path.exists("pause"):
            time.sleep(0.05)
        return super().forward(inputs)


def build(input_shape, n_outputs, width):
    return Net(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, n_outputs))
"""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture
def tracked(sweep: Sweep, server: MlflowServer) -> Sweep:
    sweep.write_code(CODE)
    return Sweep(sweep.folder, uri=server.uri)


def write(sweep: Sweep, server: MlflowServer, *, trials: int, epochs: int) -> None:
    sweep.write(STUDY.format(trials=trials, epochs=epochs, uri=server.uri))


def n_measured(sweep: Sweep) -> int:
    return sum(len(sweep.epochs(number)) for number in sweep.paths.trial_numbers())


def is_there(sweep: Sweep, status: str) -> bool:
    """Whether MLflow shows a run with that status."""
    client = sweep.client()
    experiment = client.get_experiment_by_name(sweep.name)
    if experiment is None:
        return False
    return bool(client.search_runs([experiment.experiment_id], f"status = '{status}'"))


def assert_everything_arrived(
    sweep: Sweep, server: MlflowServer, trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points, states, params, tags and models of all trials."""
    sweep.assert_truth(finished=trials)
    client = sweep.client()
    for number, run in enumerate(sweep.runs()):
        started = sweep.events(number)[0]
        assert isinstance(started, Started)
        searched = sweep.study().spec.ranges()
        assert run.data.params == {name: str(started.params[name]) for name in searched}
        for key, value in started.tags.items():
            assert run.data.tags[f"sweeper.{key}"] == value
        [model] = client.search_logged_models(
            [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
        )
        assert model.status == "READY"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    best = sweep.result().best
    assert best is not None
    info = sweep.runs()[best.number].info
    loaded = mlflow.pyfunc.load_model(f"runs:/{info.run_id}/{info.run_name}")
    assert loaded.predict(np.zeros((2, 1, 8, 8), np.float32)).shape == (2, 10)


def test_a_server_that_stops_for_half_a_minute(
    tracked: Sweep, server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tracked, server, trials=10, epochs=70)
    server.start()
    agent = tracked.start()
    try:
        wait_until(lambda: is_there(tracked, "FINISHED"))
        server.stop()
        n_before = n_measured(tracked)
        time.sleep(OUTAGE_S)
        n_meanwhile = n_measured(tracked) - n_before
        (tracked.folder / "pause").touch()
        server.start()
        (tracked.folder / "pause").unlink()
        output, _ = agent.communicate(timeout=240)
    finally:
        kill_group(agent)
    assert agent.returncode == 0, output
    assert n_meanwhile > 100, "training waited for the server"
    assert output.count("MLflow cannot be used") == 1
    assert output.count("MLflow answers again; everything held back has been sent") == 1
    assert_everything_arrived(tracked, server, 10, monkeypatch)


@pytest.mark.gate
def test_a_server_that_comes_up_later(
    tracked: Sweep, server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tracked, server, trials=4, epochs=40)
    agent = tracked.start()
    try:
        wait_until(lambda: n_measured(tracked) > 20)
        (tracked.folder / "pause").touch()
        server.start()
        (tracked.folder / "pause").unlink()
        output, _ = agent.communicate(timeout=240)
    finally:
        kill_group(agent)
    assert agent.returncode == 0, output
    assert f"Training goes on; the events wait in {tracked.paths.study_dir}" in output
    assert_everything_arrived(tracked, server, 4, monkeypatch)


def test_a_server_that_comes_up_after_the_end(
    tracked: Sweep, server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tracked, server, trials=2, epochs=3)
    done = tracked.run()
    assert done.returncode == 0, done.stderr
    assert "MLflow does not have everything yet" in done.stdout
    server.start()
    again = tracked.run()
    assert again.returncode == 0, again.stderr
    assert "MLflow does not have everything yet" not in again.stdout
    assert_everything_arrived(tracked, server, 2, monkeypatch)
