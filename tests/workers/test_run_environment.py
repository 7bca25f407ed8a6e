import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from sweeper.errors import TrialInterrupted
from sweeper.mlflow_run import MlflowRun
from sweeper.workers.run_environment import WAIT_S, await_run, telling_run
from sweeper.workers.signals import StopRequest
from tests.support.mlflow_store import copy_empty_database

URI = "https://ann:hunter2@lab:5000"
RUN = MlflowRun(run_id="abc123", experiment_id="7", store="https://***@lab:5000", resumed=1)
NAMES = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID")


@pytest.fixture(autouse=True)
def _no_mlflow_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)


def wait_too_long_for(
    path: Path, *, uri: str = URI, tell: Callable[[str], None] = print
) -> MlflowRun:
    times = iter([0.0])
    return await_run(
        path,
        uri=uri,
        resumed=1,
        stopping=StopRequest(),
        tell=tell,
        now=lambda: next(times, WAIT_S + 1),
    )


def test_a_trial_waits_for_the_run_of_its_own_start(tmp_path: Path) -> None:
    path = tmp_path / "mlflow_run.json"
    replace(RUN, run_id="old", resumed=0).save(path)
    stopping = StopRequest()
    later = threading.Timer(0.3, RUN.save, [path])
    later.start()
    assert await_run(path, uri=URI, resumed=1, stopping=stopping, tell=print) == RUN
    later.join()


def test_a_trial_that_is_given_no_run_says_for_which_store_and_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "mlflow_run.json"
    told: list[str] = []
    with pytest.raises(TrialInterrupted) as caught:
        wait_too_long_for(path, tell=told.append)
    assert str(caught.value) == "MLflow at https://***@lab:5000 had no run for it within 60 s"
    assert told == [f"a trial goes back to waiting: {caught.value}; train.mlflow: trial needs one"]
    RUN.save(path)
    with pytest.raises(
        TrialInterrupted, match="60 s, as another command sends to https://...@lab"
    ):
        wait_too_long_for(path, uri="sqlite:///other.db")


def test_what_others_wrote_in_its_place_is_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mlflow_run.json"
    path.write_text("[" * 100_000)
    with pytest.raises(TrialInterrupted, match="had no run for it within 60 s"):
        wait_too_long_for(path)
    assert not path.exists()
    assert "mlflow_run.json: unreadable" in caplog.text


def test_a_process_that_is_told_to_stop_waits_no_longer(tmp_path: Path) -> None:
    stopping = StopRequest()
    threading.Timer(0.2, stopping.set).start()
    with pytest.raises(TrialInterrupted, match="stopped while it waited for its run in MLflow"):
        await_run(tmp_path / "mlflow_run.json", uri=URI, resumed=0, stopping=stopping, tell=print)


def test_the_environment_tells_the_run_and_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mine")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    with telling_run(RUN, URI):
        assert {name: os.environ.get(name) for name in NAMES} == {
            "MLFLOW_TRACKING_URI": URI,
            "MLFLOW_EXPERIMENT_ID": "7",
            "MLFLOW_EXPERIMENT_NAME": None,
            "MLFLOW_RUN_ID": "abc123",
        }
        del os.environ["MLFLOW_RUN_ID"]  # as MLflow does
    assert [os.environ.get(name) for name in NAMES] == ["http://mine", None, "mine", None]


def test_what_code_logs_lands_in_its_own_run_though_the_one_before_left_its_run_open(
    tmp_path: Path,
) -> None:
    copy_empty_database(tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    experiment_id = client.create_experiment("small", (tmp_path / "files").as_uri())
    ids = [client.create_run(experiment_id).info.run_id for _ in range(2)]
    for run_id in ids:
        run = MlflowRun(run_id=run_id, experiment_id=experiment_id, store=uri, resumed=0)
        with telling_run(run, uri):
            mlflow.log_param("own", run_id)  # which begins the run
            assert mlflow.active_run() is not None
            with mlflow.start_run(nested=True) as inner:
                assert inner.info.experiment_id == experiment_id
        assert mlflow.active_run() is None
    assert [client.get_run(run_id).data.params for run_id in ids] == [{"own": id} for id in ids]


def test_a_store_that_is_gone_at_the_end_holds_up_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy_empty_database(tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    experiment_id = client.create_experiment("small", (tmp_path / "files").as_uri())
    run_id = client.create_run(experiment_id).info.run_id
    run = MlflowRun(run_id=run_id, experiment_id=experiment_id, store=uri, resumed=0)
    with telling_run(run, uri):
        mlflow.start_run()
        os.environ["MLFLOW_TRACKING_URI"] = "http://localhost:9"  # where nobody listens
    assert mlflow.active_run() is None
    assert "MLflow was not told that a run is closed" in caplog.text
