"""The mirror against a real MLflow server that really stops."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow_server import MlflowServer

from sweeper.errors import TrackerError
from sweeper.models.build import build_model
from sweeper.trial import TrialState
from tests.support.tracked_study import DATA, MODEL, Store, ended, epoch, started


@contextmanager
def running(server: MlflowServer) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.stop()


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_when_a_server_stops_and_comes_back(
    store: Store, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("server")
    server = MlflowServer(folder)
    uri = server.uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    remote = replace(store, uri=uri, client=MlflowClient(uri))
    torch.manual_seed(0)
    net = build_model(MODEL.architecture, DATA.input_shape, DATA.n_outputs, **MODEL.params)
    mirror = remote.mirror(log_models="completed")

    with running(server):
        remote.append(0, started(), epoch(1, 0.5, loss=float("nan")))
        mirror.send()
    remote.append(0, epoch(2, 0.75), ended(TrialState.COMPLETE, epoch(2, 0.75)))
    torch.save(net.state_dict(), remote.paths.model(0))
    with pytest.raises(TrackerError, match="MLflow cannot be used"):
        mirror.send()
    with running(server):
        assert mirror.send() == 2
        remote.paths.shipped(0).unlink()
        assert remote.mirror(log_models="completed").send() == 4
        run = remote.trial()
        assert run.info.status == "FINISHED"
        assert [step for step, *_ in remote.curve(run, "val_accuracy")] == [1, 2]
        assert len(remote.curve(run, "train_loss")) == 2
        experiments = [run.info.experiment_id]
        assert len(remote.client.search_logged_models(experiments)) == 1
        logged = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/{run.info.run_name}")
        assert logged.predict(np.zeros((5, *DATA.input_shape), np.float32)).shape == (5, 10)
