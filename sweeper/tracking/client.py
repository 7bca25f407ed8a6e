"""A client for MLflow, and what its failures mean to the user."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from alembic.util.exc import CommandError
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from sweeper.durable import Step, durable
from sweeper.errors import DISK_FULL, UNWRITABLE, RequestRefusedError, TrackerError
from sweeper.imports import loading
from sweeper.paths import RunPaths
from sweeper.text import redacted
from sweeper.tracking.address import local_uri
from sweeper.tracking.local_store import prepare_store

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_REFUSALS = frozenset(
    {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST"}
)


#: What MLflow lets through of what it is made of.
_TROUBLE = (
    MlflowException,
    SQLAlchemyError,
    CommandError,
    sqlite3.Error,
    OSError,
    ImportError,
)

_SEE_TO_DISK = "see that the disk has room, and that you may write there"


@contextmanager
def tracker_errors(uri: str) -> Iterator[None]:
    """Turn whatever MLflow raises inside the block into a :class:`TrackerError`."""
    try:
        yield
    except _TROUBLE as exc:
        reason = redacted(str(exc)).partition("\n")[0][:500].rstrip(".")
        where = f"tracking.uri: {redacted(uri)}"
        if isinstance(exc, MlflowException) and exc.error_code in _REFUSALS:
            raise RequestRefusedError(f"{where}: MLflow refuses a request: {reason}") from exc
        is_file = uri.startswith("sqlite") or _is_of_disk(exc)
        way_out = _SEE_TO_DISK if is_file else "check the address, the server and its credentials"
        raise TrackerError(
            f"{where}: MLflow cannot be used: {reason}; {way_out}. Nothing is lost: events stay "
            "on disk until they can be sent"
        ) from exc


@contextmanager
def artifact_errors(uri: str) -> Iterator[None]:
    """The same for uploads, inside :func:`tracker_errors`.

    Artifact stores raise whatever their libraries do. One that fails does not stop metrics.
    """
    try:
        yield
    except (MlflowException, RequestRefusedError):
        raise
    except Exception as exc:
        reason = redacted(f"{type(exc).__name__}: {exc}").partition("\n")[0][:500]
        way_out = _SEE_TO_DISK if _is_of_disk(exc) else "check its address and credentials"
        raise RequestRefusedError(
            f"tracking.uri: {redacted(uri)}: MLflow's artifact store fails: {reason}; {way_out}. "
            "The files stay on disk until they can be sent"
        ) from exc


def _is_of_disk(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (*DISK_FULL, *UNWRITABLE)


def open_client(uri: str, paths: RunPaths) -> MlflowClient:
    """A client; the study's own SQLite store is created, in WAL mode, when it is not there.

    Raises:
        TrackerError: If the scheme is unknown or the database cannot be opened. A server is not
            contacted yet.
    """
    for chatty in ("alembic", "mlflow.pyfunc"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It prints, with a traceback, what it raises all the same.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    try:
        # MLflow imports what this kind of store needs.
        with tracker_errors(uri), loading(f"MLflow on {urlsplit(uri).scheme}"):
            if uri == local_uri(paths):
                prepare_store(paths)
            return MlflowClient(uri)
    except RequestRefusedError as exc:
        raise TrackerError(
            f"{exc}; use http://host:port, a database such as sqlite:////path/mlflow.db, or auto"
        ) from exc


#: MLflow's UI then opens the experiment as model training instead of asking what it is.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


def find_experiment(client: MlflowClient, name: str) -> str | None:
    """The id of the experiment called ``name``, if there is one.

    Raises:
        TrackerError: If MLflow cannot be used, or somebody deleted the experiment.
    """
    uri = client.tracking_uri
    with tracker_errors(uri):
        experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return None
    if experiment.lifecycle_stage == "deleted":
        raise TrackerError(
            f"tracking.uri: {redacted(uri)}: experiment {name!r} was deleted there; restore it "
            f"with `mlflow experiments restore --experiment-id {experiment.experiment_id}`, or "
            "give the study another name"
        )
    return str(experiment.experiment_id)


def find_or_create_experiment(client: MlflowClient, paths: RunPaths) -> str:
    """The id of a study's experiment; raises as :func:`find_experiment`."""
    found, uri = find_experiment(client, paths.study), client.tracking_uri
    if found is not None:
        return found
    try:
        with tracker_errors(uri), durable(Step.MIRROR_RUN):
            location = _artifact_location(uri, paths)
            return str(client.create_experiment(paths.study, location, tags=_EXPERIMENT_TAGS))
    except TrackerError:
        found = find_experiment(client, paths.study)  # another machine may have been faster
        if found is None:
            raise
        return found


def _artifact_location(uri: str, paths: RunPaths) -> str | None:
    """A server decides itself; a database does not and would use the working directory."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    return paths.artifacts.as_uri() if scheme in _DATABASES else None
