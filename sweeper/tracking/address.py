"""The MLflow store of a study, found out without loading mlflow."""

import os

from sqlalchemy.engine import URL

from sweeper.errors import TrackerError
from sweeper.paths import RunPaths


def tracking_uri(setting: str, paths: RunPaths) -> str:
    """The MLflow store of a study.

    Args:
        setting: ``tracking.uri`` of the study file, ``auto`` or a URI.
        paths: Files of the study.

    Returns:
        The study file's URI, else ``$MLFLOW_TRACKING_URI``, else the SQLite file below ``mlruns``.

    Raises:
        TrackerError: If the URI has lost its password, as in the file that a study's folder keeps,
            and the environment has none.
    """
    is_cut = "***" in setting
    if setting != "auto" and not is_cut:
        return setting
    named = os.environ.get("MLFLOW_TRACKING_URI")
    if named is None and is_cut:
        raise TrackerError(
            f"tracking.uri: {setting}: a study's folder keeps no passwords; set "
            "MLFLOW_TRACKING_URI to the whole address, or name the study file instead"
        )
    return named or local_uri(paths)


def local_uri(paths: RunPaths) -> str:
    """The address of the study's own store below ``mlruns``; whether it is there is left open."""
    return URL.create("sqlite", database=paths.mlflow_db.as_posix()).render_as_string()
