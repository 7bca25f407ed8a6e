"""``sweeper ui``: MLflow's own UI on a study's store."""

from collections.abc import Callable
from pathlib import Path

from sweeper.commands.guard import GuardedPort, serve
from sweeper.config.names import FALLBACK_SUFFIX
from sweeper.config.study import StudySpec
from sweeper.paths import RunPaths
from sweeper.text import redacted
from sweeper.tracking.client import open_client, tracker_errors, tracking_uri
from sweeper.tracking.view import save_view, view_link


def serve_ui(spec: StudySpec, root: Path, port: int) -> None:
    """Serve MLflow's UI until Ctrl-C, or say where the study's own server is.

    Args:
        spec: The study file.
        root: The ``mlruns`` folder.
        port: To listen on.

    Raises:
        TrackerError: If the port is taken, or MLflow's server does not come up.
    """
    paths = RunPaths(root, spec.name)
    uri = tracking_uri(spec.tracking.uri, paths)
    if uri.startswith(("http://", "https://")):
        print("\n".join(_links(uri, lambda place: redacted(uri.rstrip("/") + place), spec, paths)))
        return
    guarded = GuardedPort(port)
    from sweeper.tracking.page import build_page

    page = build_page(uri, paths)
    print("\n".join([*_links(uri, guarded.link, spec, paths), "Ctrl-C ends it"]), flush=True)
    serve({guarded: page})


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
