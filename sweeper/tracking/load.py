"""The model of a trial, from MLflow into this process."""

import tempfile
from typing import Any

import mlflow
from mlflow import MlflowClient

from sweeper.errors import TrackerError
from sweeper.study.study import SweepStudy
from sweeper.text import redacted
from sweeper.tracking.address import tracking_uri
from sweeper.tracking.client import (
    artifact_errors,
    find_experiment,
    open_client,
    tracker_errors,
)
from sweeper.tracking.parent import find_parent, list_children
from sweeper.tracking.runs import find_model
from sweeper.tracking.torch_flavor import torch_flavor  # noqa: F401  (before MLflow imports it)


def load_model(study: SweepStudy, number: int) -> Any:
    """What ``mlflow.pyfunc.load_model`` makes of it; MLflow's own settings stay as they are.

    Args:
        study: Begun.
        number: Of a trial.

    Raises:
        TrackerError: If MLflow has no model of the trial, or cannot be used.
    """
    uri = tracking_uri(study.spec.tracking.uri, study.paths)
    client = open_client(uri, study.paths)
    experiment_id = find_experiment(client, study.spec.name)
    with tracker_errors(uri):
        model_id = _find(client, experiment_id, number) if experiment_id else None
        if model_id is None:
            raise TrackerError(
                f"tracking.uri: {redacted(uri)}: has no model of trial {number}: none was logged "
                f"(tracking.log_models, trial.log_model), or `{study.spec.command('sync')}` "
                "has yet to send it"
            )
        with artifact_errors(uri), tempfile.TemporaryDirectory() as scratch:
            place = client.get_logged_model(model_id).artifact_location
            folder = mlflow.artifacts.download_artifacts(
                artifact_uri=place, dst_path=scratch, tracking_uri=uri
            )
            return mlflow.pyfunc.load_model(folder)


def _find(client: MlflowClient, experiment_id: str, number: int) -> str | None:
    parent = find_parent(client, experiment_id)
    if parent is None:
        return None
    runs = list_children(parent, number).get(number, [])
    return next(filter(None, (find_model(parent, run.info.run_id) for run in runs)), None)
