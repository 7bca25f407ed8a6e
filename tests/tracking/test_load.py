"""Models of trials, from MLflow into this process."""

from pathlib import Path

import mlflow
import numpy as np
import pytest

from sweeper.errors import TrackerError
from sweeper.tracking.load import load_model
from tests.support.sweep_studies import reports
from tests.support.tracked_sweeps import MODEL, TrackedSweep, begin_sweep


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackedSweep:
    monkeypatch.chdir(tmp_path)
    return begin_sweep(tmp_path, trials=2)


def test_a_model_predicts_and_mlflows_own_settings_stay(sweep: TrackedSweep) -> None:
    before = mlflow.get_tracking_uri()
    sweep.run(reports(0.5))
    sweep.run(reports(0.75), model=MODEL)
    sweep.send()
    model = load_model(sweep.study, 1)
    assert model.predict(np.zeros((2, 1, 8, 8), np.float32)).shape == (2, 10)
    assert mlflow.get_tracking_uri() == before
    with pytest.raises(TrackerError, match="has no model of trial 0: none was logged"):
        load_model(sweep.study, 0)


def test_before_anything_was_sent_that_is_said(sweep: TrackedSweep) -> None:
    sweep.run(reports(0.5), model=MODEL)
    with pytest.raises(TrackerError, match=r"or `sweeper sync .*small.yaml` has yet to send it"):
        load_model(sweep.study, 0)
