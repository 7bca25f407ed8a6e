"""A run for a trial that belongs to no study, in a store that is thrown away with it."""

from pathlib import Path

from sweeper.durable import Step, durable
from sweeper.mlflow_run import MlflowRun
from sweeper.paths import RunPaths
from sweeper.tracking.address import local_uri
from sweeper.tracking.client import find_or_create_experiment, open_client, tracker_errors


def make_scratch_run(folder: Path, study: str) -> MlflowRun:
    """Make a store and a run in it.

    Args:
        folder: In which all of it lies, artifacts too.
        study: Whose experiment's name the run's has.

    Raises:
        TrackerError: If MLflow cannot make them.
    """
    paths = RunPaths(folder, study)
    folder.mkdir(exist_ok=True)
    uri = local_uri(paths)
    client = open_client(uri, paths)
    experiment_id = find_or_create_experiment(client, paths)
    with tracker_errors(uri), durable(Step.MIRROR_RUN):
        run = client.create_run(experiment_id)
    return MlflowRun(run_id=run.info.run_id, experiment_id=experiment_id, store=uri, resumed=0)
