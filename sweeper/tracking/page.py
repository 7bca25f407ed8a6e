"""MLflow's page on a study's store, as an application in this process."""

import os
import warnings
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.store.artifact import artifact_repository_registry
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from sweeper.imports import loading
from sweeper.paths import RunPaths
from sweeper.tracking.client import open_client, tracker_errors

_LOCAL = ("", "file")
#: Addresses that MLflow looks up in its database, and asks for what it finds there in turn.
_LOOKED_UP = ("runs", "models")
#: As the page itself notes in the browser that the assistant has opened by itself once.
_NOTED = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"
_CLOSED = f"<script>localStorage.setItem('{_NOTED}', 'true')</script>"


def build_page(uri: str, paths: RunPaths) -> Any:
    """MLflow's tracking server, without its job runner, which costs seven processes.

    From now on this process opens artifacts of the study's store alone: what MLflow's database
    says of where they lie, whoever can write to it decides.

    Args:
        uri: Of the database.
        paths: Files of the study.

    Returns:
        An ASGI application. It asks nobody for a password.

    Raises:
        TrackerError: If MLflow's server cannot be had, or the database cannot be opened.
    """
    open_client(uri, paths)  # makes the store where there is none, as MLflow's server would not
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with tracker_errors(uri), loading("MLflow's server"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "starlette.middleware.wsgi is deprecated")
        from mlflow.server import constants
        from mlflow.server.fastapi_app import app
        from mlflow.server.handlers import initialize_backend_stores

        artifacts = paths.artifacts.absolute().as_uri()
        os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = uri
        os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = uri
        os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = artifacts
        initialize_backend_stores(uri, uri, artifacts)
    _confine_artifacts(paths.artifacts.resolve())
    _keep_assistant_closed(app)
    return app


def _keep_assistant_closed(app: Any) -> None:
    """Let the page begin as if its assistant, over a quarter of it, had been there and closed."""
    from mlflow.server import app as flask
    from starlette.requests import Request
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    index = Path(flask.static_folder or "", "index.html").read_text(encoding="utf-8")
    content = index.replace("<head>", f"<head>{_CLOSED}", 1)

    async def answer(_: Request) -> HTMLResponse:
        return HTMLResponse(content, headers={"Cache-Control": "no-cache"})

    app.router.routes.insert(0, Route("/", answer))


def _confine_artifacts(folder: Path) -> None:
    """Let MLflow refuse every address of artifacts outside of a folder, whatever its scheme."""

    class ConfinedRepository(LocalArtifactRepository):
        """MLflow itself sees to it that no link in it leads out of it."""

        def __init__(self, artifact_uri: str, *args: Any, **kwargs: Any) -> None:
            super().__init__(artifact_uri, *args, **kwargs)
            if not Path(self.artifact_dir).resolve().is_relative_to(folder):
                refuse(artifact_uri)

    def refuse(artifact_uri: str, *_: Any, **__: Any) -> Any:
        raise MlflowException.invalid_parameter_value(
            f"{artifact_uri} lies outside of {folder}, and `sweeper ui` opens artifacts of that "
            "folder alone; `mlflow server` opens others"
        )

    registry: Any = artifact_repository_registry._artifact_repository_registry
    for scheme in registry.get_registered_artifact_repositories().keys() - set(_LOOKED_UP):
        registry.register(scheme, ConfinedRepository if scheme in _LOCAL else refuse)
