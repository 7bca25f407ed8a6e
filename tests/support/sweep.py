"""A study in a folder of its own, worked on by real ``python -m sweeper`` processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from mlflow import MlflowClient
from mlflow.entities import Run

from sweeper.config.reader import load_study
from sweeper.events import Event, Started, read_events
from sweeper.paths import RunPaths
from sweeper.study.create import load_study_from_storage
from sweeper.study.result import Result
from sweeper.study.study import SweepStudy
from sweeper.tracking.batch import tells_state
from sweeper.trial import EpochMetrics, TrialState
from tests.support.forked_commands import popen

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
    """The study file ``sweep.yaml`` in ``folder`` and everything that came of it.

    Args:
        folder: The working directory of its commands.
        name: Of the study.
        uri: Of the MLflow store, as the study file names it; None means the one in ``folder``.
    """

    def __init__(self, folder: Path, *, name: str = "sweep", uri: str | None = None) -> None:
        self.folder = folder
        self.name = name
        self.file = folder / "sweep.yaml"
        self._uri = uri

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def write_code(self, text: str) -> None:
        """The user's own module, ``own:...`` in the study file."""
        (self.folder / "own.py").write_text(text)

    def write_default(self, *, trials: int, epochs: int = 3, workers: int = 1) -> None:
        self.write(STUDY.format(trials=trials, epochs=epochs, workers=workers))

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "sweeper", *words]

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """``sweeper WORDS`` to its end; by default ``sweeper run sweep.yaml``."""
        command = self.command(*(words or ("run", "sweep.yaml")))
        process = popen(
            command,
            cwd=self.folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=PATIENCE_S * 2)
        finally:
            kill_group(process)
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    def start(self, output: IO[str] | int = subprocess.PIPE) -> subprocess.Popen[str]:
        """``sweeper run sweep.yaml`` in the background, in a process group of its own."""
        return popen(
            self.command("run", "sweep.yaml"),
            cwd=self.folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def start_and_stop(self, *, when: Callable[[], object]) -> str:
        """What :meth:`start` prints if it is told to stop, by SIGTERM, once something holds."""
        agent = self.start()
        try:
            wait_until(when)
            agent.send_signal(signal.SIGTERM)
            output, _ = agent.communicate(timeout=120)
        finally:
            kill_group(agent)
        assert agent.returncode == 4, output
        return output

    @property
    def paths(self) -> RunPaths:
        return RunPaths(self.folder / "mlruns", self.name)

    def events(self, number: int) -> list[Event]:
        return read_events(self.paths.events(number))[0]

    def epochs(self, number: int) -> list[EpochMetrics]:
        """What the trial's event log holds of its epochs."""
        return [event for event in self.events(number) if isinstance(event, EpochMetrics)]

    def n_resumed(self) -> int:
        """How often a process went on with a trial that another one had begun."""
        events = [event for number in self.paths.trial_numbers() for event in self.events(number)]
        return sum(isinstance(event, Started) and event.resumed > 0 for event in events)

    def study(self) -> SweepStudy:
        study = load_study_from_storage(load_study(self.file), self.paths)
        assert study is not None
        return study

    def result(self) -> Result:
        return Result(self.study())

    def states(self) -> dict[int, str]:
        """Trial number -> state, as Optuna's storage has it, in sweeper's words."""
        table = self.result().trials()
        return dict(zip(table["number"], table["state"], strict=True))

    def client(self) -> MlflowClient:
        return MlflowClient(self._uri or f"sqlite:///{self.paths.mlflow_db}")

    def runs(self, kind: str = "trial") -> list[Run]:
        """MLflow runs of that kind, by trial number."""
        client = self.client()
        experiment = client.get_experiment_by_name(self.name)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], f"tags.`sweeper.kind` = '{kind}'")
        return sorted(runs, key=lambda run: int(run.data.tags.get("sweeper.trial", -1)))

    def assert_truth(self, *, finished: int) -> None:
        """As many trials finished, none left over, and MLflow shows each as it was, once."""
        states = self.states()
        n_finished = sum(state in ("complete", "pruned", "diverged") for state in states.values())
        assert n_finished == finished, states
        assert set(states.values()) <= {"complete", "pruned", "diverged", "failed"}
        runs = self.runs()
        assert [int(run.data.tags["sweeper.trial"]) for run in runs] == sorted(states)
        for number, run in enumerate(runs):
            assert tells_state(run.info.status, TrialState(states[number]))
            assert run.data.tags["sweeper.state"] == states[number]
            self.assert_curves(number, run)
        [parent] = self.runs("study")
        assert parent.info.status == "FINISHED"
        best = self.result().best
        assert best is not None
        name, value = next(iter(best.values.items()))
        assert runs[best.number].data.metrics[f"best_{name}"] == value
        assert parent.data.tags["sweeper.best_trials"] == str(best.number)

    def assert_curves(self, number: int, run: Run) -> None:
        """Each epoch of the trial's log once in MLflow, in order, as it was measured."""
        epochs = self.epochs(number)
        assert [epoch.epoch for epoch in epochs] == list(range(1, len(epochs) + 1))
        client = self.client()
        for name in epochs[0].values if epochs else ():
            curve = client.get_metric_history(run.info.run_id, name)
            assert [(point.step, repr(point.value), point.timestamp) for point in curve] == [
                (epoch.epoch, repr(epoch.values[name]), round(epoch.time_s * 1000))
                for epoch in epochs
            ], (number, name)


def wait_until(is_true: Callable[[], object]) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def worker_pids(agent: subprocess.Popen[str]) -> list[int]:
    """Process ids of an agent's workers."""
    words = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    names = {int(pid): Path(f"/proc/{pid}/comm").read_text() for pid in words}
    return [pid for pid, name in names.items() if name == "sweeper-worker\n"]


def kill_group(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process and its group, if it still lives."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_goal(*commands: subprocess.Popen[str]) -> None:
    """Until all have ended; each must say that the goal is reached."""
    try:
        outputs = [command.communicate(timeout=PATIENCE_S)[0] for command in commands]
    finally:
        for command in commands:
            kill_group(command)
    assert [command.returncode for command in commands] == [0] * len(commands), "\n".join(outputs)


def last_json(text: str) -> dict[str, object]:
    """The last line of a command's output, read as JSON."""
    found: dict[str, object] = json.loads(text.splitlines()[-1])
    return found
