"""Models of MLflow loaded and served where sweeper is not installed."""

import json
import os
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

from tests.support.sweep import Sweep, kill_group, wait_until


def without_sweeper(folder: Path) -> dict[str, str]:
    """An environment in which ``import sweeper`` fails."""
    (folder / "elsewhere").mkdir(exist_ok=True)
    (folder / "elsewhere" / "sweeper.py").write_text("raise ImportError('is not installed')\n")
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    programs = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    path = {"PATH": programs, "PYTHONPATH": str(folder / "elsewhere")}  # MLflow calls uvicorn
    return {**os.environ, **quiet, **path}


def best_model(sweep: Sweep) -> str:
    """Where MLflow has the model of the best trial."""
    best = sweep.result().best
    assert best is not None
    info = sweep.runs()[best.number].info
    [model] = sweep.client().search_logged_models(
        [info.experiment_id], f"source_run_id = '{info.run_id}'"
    )
    return str(model.artifact_location)


def run_elsewhere(folder: Path, code: str, *words: str) -> Any:
    """What some code prints last, as JSON, in a process that cannot import sweeper."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env=without_sweeper(folder),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def serving(folder: Path, model: str, port: int) -> Iterator[str]:
    """``mlflow models serve``; the address of its answers."""
    words = ["models", "serve", "--model-uri", model, "--env-manager", "local"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words, "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder,
        env=without_sweeper(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: server.poll() is not None or _answers(f"{address}/ping"))
        assert server.poll() is None, server.communicate()[0]
        yield f"{address}/invocations"
    finally:
        kill_group(server)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address):
            return True
    except (URLError, ConnectionError):
        return False


def ask(address: str, question: Mapping[str, Any]) -> Any:
    """What a served model answers."""
    request = urllib.request.Request(
        address, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())["predictions"]
