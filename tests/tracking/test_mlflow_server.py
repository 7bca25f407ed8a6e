"""The mirror against a real MLflow server that really stops."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from tracked_study import DATA, MODEL, Store, ended, epoch, started

from sweeper.errors import TrackerError
from sweeper.models import build_model
from sweeper.trial import TrialState


@contextmanager
def running_server(folder: Path, port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    command += ["--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", f"{folder}/artifacts"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("a") as log:
        server = subprocess.Popen(
            command,
            env={**os.environ, **quiet},
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", server)
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_until_healthy(address: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(address, timeout=1)
            return
        time.sleep(0.1)
    pytest.fail("the MLflow server did not start; see server.log")


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_when_a_server_stops_and_comes_back(
    store: Store, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    remote = replace(store, uri=uri, client=MlflowClient(uri))
    torch.manual_seed(0)
    net = build_model(MODEL.architecture, DATA.input_shape, DATA.n_classes, **MODEL.params)
    mirror = remote.mirror(log_models="completed")

    with running_server(folder, port):
        remote.append(0, started(), epoch(1, 0.5, loss=float("nan")))
        mirror.ship()
    remote.append(0, epoch(2, 0.75), ended(TrialState.COMPLETE, epoch(2, 0.75)))
    torch.save(net.state_dict(), remote.paths.model(0))
    with pytest.raises(TrackerError, match="MLflow cannot be used"):
        mirror.ship()
    with running_server(folder, port):
        assert mirror.ship() == 2
        remote.paths.shipped(0).unlink()
        assert remote.mirror(log_models="completed").ship() == 4
        run = remote.trial()
        assert run.info.status == "FINISHED"
        assert [step for step, *_ in remote.curve(run, "val_accuracy")] == [1, 2]
        assert len(remote.curve(run, "train_loss")) == 2
        experiments = [run.info.experiment_id]
        assert len(remote.client.search_logged_models(experiments)) == 1
        logged = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
        assert logged.predict(np.zeros((5, *DATA.input_shape), np.float32)).shape == (5, 10)
