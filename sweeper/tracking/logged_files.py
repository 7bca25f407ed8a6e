"""Files that a trial's own code logged, on their way from the trial's folder to its run."""

import logging
import posixpath
from collections.abc import Collection
from pathlib import Path

from mlflow import MlflowClient

from sweeper.durable import Step, durable

_logger = logging.getLogger("sweeper")


def send_files(client: MlflowClient, run_id: str, folder: Path, names: Collection[str]) -> None:
    """Send files to a run; those that it has already take on the content of now.

    Args:
        client: Of the store that holds the run.
        run_id: Of the run.
        folder: With the files.
        names: Of the files, in the folder and in the run. One that is not there is said.

    Raises:
        Exception: Whatever the artifact store raises.
    """
    for name in sorted(names):
        path = folder / name
        if not path.exists():
            _logger.warning("%s: absent; MLflow gets no such file", path)
            continue
        with durable(Step.MIRROR_SEND):
            client.log_artifact(run_id, str(path), posixpath.dirname(name) or None)


def missing_files(client: MlflowClient, run_id: str, names: Collection[str]) -> list[str]:
    """Those of the files that a run does not have; raises as :func:`send_files`."""
    there = {
        file.path
        for folder in {posixpath.dirname(name) for name in names}
        for file in client.list_artifacts(run_id, folder or None)
    }
    return sorted(set(names) - there)
