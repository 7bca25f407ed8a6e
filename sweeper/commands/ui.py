"""``sweeper ui``: MLflow's own UI on a study's store, and optuna-dashboard's beside it."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.commands.guard import GuardedPort, serve
from sweeper.config.names import FALLBACK_SUFFIX
from sweeper.config.study import StudySpec
from sweeper.paths import RunPaths
from sweeper.study.dashboard import build_dashboard, dashboard_place
from sweeper.study.find import find_study
from sweeper.text import redacted, write_out
from sweeper.tracking.address import tracking_uri
from sweeper.tracking.client import open_client, tracker_errors
from sweeper.tracking.view import save_view, view_link

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def serve_ui(spec: StudySpec, root: Path, port: int, *, with_dashboard: bool) -> None:
    """Serve MLflow's UI until Ctrl-C, or say where the study's own server is.

    Args:
        spec: The study file.
        root: The ``mlruns`` folder.
        port: To listen on.
        with_dashboard: Serve optuna-dashboard's page beside it, on the next port.

    Raises:
        TrackerError: If a port is taken, or MLflow's server does not come up.
        StudyError: If the dashboard was asked for, and it is not installed or the study has not
            begun.
    """
    paths = RunPaths(root, spec.name)
    uri = tracking_uri(spec.tracking.uri, paths)
    pages: dict[GuardedPort, ASGIApp] = {}
    if uri.startswith(("http://", "https://")):
        lines = _links(uri, lambda place: redacted(uri.rstrip("/") + place), spec, paths)
    else:
        guarded = GuardedPort(port)
        from sweeper.tracking.page import build_page

        pages[guarded] = build_page(uri, paths)
        lines = _links(uri, guarded.link, spec, paths)
    if with_dashboard:
        guarded = GuardedPort(port + 1 if port else 0)
        pages[guarded], place = _dashboard(spec, root)
        lines.append(f"optuna-dashboard: {guarded.link(place)}")
    if pages:
        lines.append("Ctrl-C ends it")
        serve(pages, lambda: write_out("\n".join(lines)))
    else:
        write_out("\n".join(lines))


def _dashboard(spec: StudySpec, root: Path) -> "tuple[ASGIApp, str]":
    """The page, and where the study is on it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "starlette.middleware.wsgi is deprecated")
        from starlette.middleware.wsgi import WSGIMiddleware
    study = find_study(spec, root).open_begun()
    return WSGIMiddleware(build_dashboard(study)), dashboard_place(study)


def _links(uri: str, link: Callable[[str], str], spec: StudySpec, paths: RunPaths) -> list[str]:
    """Where to look: MLflow's own first view of a study shows neither a metric nor a param."""
    names = (spec.name, spec.name + FALLBACK_SUFFIX)
    with tracker_errors(uri):
        client = open_client(uri, paths)
        experiments = [found for name in names if (found := client.get_experiment_by_name(name))]
        for experiment in experiments:
            save_view(client, experiment, spec)
    places = [
        (
            f"{experiment.name}, {what}",
            view_link(experiment.experiment_id, charts=what == "charts"),
        )
        for experiment in experiments
        for what in ("best first", "charts")
    ] or [("", "/")]
    labels = ["MLflow UI", *(label for label, _ in places[1:])]
    return [f"{label}: {link(place)}" for label, (_, place) in zip(labels, places, strict=True)]
