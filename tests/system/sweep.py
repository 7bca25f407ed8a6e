"""A study in a folder of its own, worked on by real ``python -m sweeper`` processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from sweeper.events import Event, read_events
from sweeper.paths import RunPaths
from sweeper.result import Result
from sweeper.spec import load_study
from sweeper.study import load_study_from_storage

STUDY = """
budget: {{trials: {trials}}}
pruner: {{name: asha, min_epochs: 1, reduction_factor: 3}}
data: {{name: digits, batch_size: 64}}
model:
  architecture: mlp
  depth: {{low: 1, high: 2}}
  width: {{choices: [16, 64]}}
train:
  epochs: {epochs}
  learning_rate: {{low: 1e-4, high: 1e-1, log: true}}
run: {{workers: {workers}}}
"""
#: Generous: a test that waits so long has failed, however busy the machine is.
PATIENCE_S = 120


class Sweep:
    """The study file ``sweep.yaml`` in ``folder`` and everything that came of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "sweep.yaml"

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def write_default(self, *, trials: int, epochs: int = 3, workers: int = 1) -> None:
        self.write(STUDY.format(trials=trials, epochs=epochs, workers=workers))

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "sweeper", *words]

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """``sweeper WORDS`` to its end; by default ``sweeper run sweep.yaml``."""
        return subprocess.run(
            self.command(*(words or ("run", "sweep.yaml"))),
            cwd=self.folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
        )

    def start(self) -> subprocess.Popen[str]:
        """``sweeper run sweep.yaml`` in the background, in a process group of its own."""
        return subprocess.Popen(
            self.command("run", "sweep.yaml"),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def paths(self) -> RunPaths:
        return RunPaths(self.folder / "mlruns", "sweep")

    def events(self, number: int) -> list[Event]:
        return read_events(self.paths.events(number))[0]

    def result(self) -> Result:
        spec = replace(load_study(self.file))
        study = load_study_from_storage(spec, self.paths)
        assert study is not None
        return Result(study)

    def states(self) -> dict[int, str]:
        """Trial number -> state, as Optuna's storage has it, in sweeper's words."""
        table = self.result().trials()
        return dict(zip(table["number"], table["state"], strict=True))

    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.paths.mlflow_db}")

    def runs(self, kind: str = "trial", study: str = "sweep") -> list[Run]:
        """MLflow runs of that kind, by trial number."""
        client = self.client()
        experiment = client.get_experiment_by_name(study)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], f"tags.`sweeper.kind` = '{kind}'")
        return sorted(runs, key=lambda run: int(run.data.tags.get("sweeper.trial", -1)))


def wait_until(is_true: Callable[[], object]) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def worker_pids(agent: subprocess.Popen[str]) -> list[int]:
    """Process ids of an agent's workers."""
    words = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    names = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in words}
    return [pid for pid, name in names.items() if b"sweeper.worker" in name]


def kill_group(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process and its group, if it still lives."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_json(text: str) -> dict[str, object]:
    """The last line of a command's output, read as JSON."""
    found: dict[str, object] = json.loads(text.splitlines()[-1])
    return found
