"""``sweeper ui``: MLflow's own UI on a study's store."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import urlencode

from sweeper.config.names import FALLBACK_SUFFIX
from sweeper.config.study import StudySpec
from sweeper.errors import TrackerError
from sweeper.paths import RunPaths
from sweeper.text import redacted
from sweeper.tracking.client import open_client, tracker_errors, tracking_uri

_HOST = "127.0.0.1"
_READY_WITHIN_S = 60.0


def serve_ui(spec: StudySpec, root: Path, port: int) -> None:
    """Serve MLflow's UI until Ctrl-C, or say where the study's own server is.

    Listens on this machine alone, without MLflow's job runner, which costs seven processes.

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
        print("\n".join(_links(uri, spec, paths)))
        return
    _refuse_taken(port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with TemporaryFile() as log_file, suppress(KeyboardInterrupt):
        process = _start_server(uri, paths, port, log_file)
        try:
            _wait_until_ready(process, port, log_file)
            lines = [*_links(f"http://{_HOST}:{port}", spec, paths), "Ctrl-C ends it"]
            print("\n".join(lines), flush=True)
            process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _start_server(
    uri: str, paths: RunPaths, port: int, log_file: IO[bytes]
) -> subprocess.Popen[bytes]:
    artifacts = paths.artifacts.absolute().as_uri()
    words = ["--default-artifact-root", artifacts, "--host", _HOST, "--port", str(port)]
    # In the environment, as it may hold a password and every user can read a command line.
    settings = {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--workers", "1", *words],
        env={**os.environ, **settings},
        stdout=log_file,
        stderr=log_file,
        start_new_session=True,
    )


def _links(address: str, spec: StudySpec, paths: RunPaths) -> list[str]:
    """Where to look: MLflow's start page shows the study's run alone, its trials folded away."""
    names = (spec.name, spec.name + FALLBACK_SUFFIX)
    with tracker_errors(address):
        client = open_client(address, paths)
        experiments = [found for name in names if (found := client.get_experiment_by_name(name))]
    lines = [f"MLflow UI: {redacted(address)}"]
    for experiment in experiments:
        metric, direction = spec.objective.metrics[0], spec.objective.directions[0]
        query = {
            "workflowType": "machine_learning",
            "searchFilter": "tags.`sweeper.kind` = 'trial'",
            "orderByKey": f"metrics.`best_{metric}`",
            "orderByAsc": "true" if direction == "minimize" else "false",
        }
        page = f"{redacted(address)}/#/experiments/{experiment.experiment_id}/runs?"
        lines.append(f"{experiment.name}, best first: {page}{urlencode(query)}")
        lines.append(
            f"{experiment.name}, curves: {page}{urlencode({**query, 'compareRunsMode': 'CHART'})}"
        )
    return lines


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((_HOST, port)) == 0:
            raise TrackerError(
                f"port {port} on {_HOST} is taken; is the UI running already? "
                f"Else choose another: --port {port + 1}"
            )


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log_file: IO[bytes]) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{_HOST}:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    log_file.seek(0)
    words = redacted(log_file.read().decode(errors="replace"))  # before it is cut
    raise TrackerError(f"MLflow's server did not come up:\n{words[-2000:]}")
