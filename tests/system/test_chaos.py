"""Two minutes in which a worker or the command itself is killed every two seconds."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from tests.support.sweep import Sweep, kill_group, worker_pids

# Forked, so many commands start that the study ends before the time.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("started_anew")]

TRIALS, EPOCHS, BATCHES = 40, 30, 26
CHAOS_S, EVERY_S = 120.0, 2.0
STUDY = f"""
budget: {{trials: {TRIALS}}}
sampler: {{name: tpe}}
pruner: {{name: none}}
data: {{name: digits, batch_size: 64}}
model:
  architecture: "own:build"
  width: {{choices: [16, 64]}}
  dropout: {{low: 0.0, high: 0.5}}
train: {{epochs: {EPOCHS}, learning_rate: {{low: 1e-4, high: 1e-1, log: true}}}}
run: {{workers: 2}}
tracking: {{log_models: best}}
"""
#: Counts the batches that are trained on, whoever does it. A batch takes at least 2 ms, so that
#: a fast machine has something left to do when the two minutes are over.
CODE = """
import os, time
from torch import nn

counter = os.open("batches", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class Net(nn.Sequential):
    def forward(self, inputs):
        if self.training:
            os.write(counter, b"x")
            time.sleep(0.002)
        return super().forward(inputs)


def build(input_shape, n_outputs, width, dropout):
    return Net(
        nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 10)
    )
"""


class Chaos:
    """Kills at random and starts again, and counts."""

    def __init__(self, sweep: Sweep, seed: int) -> None:
        self._sweep = sweep
        self._rng = random.Random(seed)
        self.n_agents = self.n_workers = 0
        self.agent = self._start()

    def _start(self) -> subprocess.Popen[str]:
        with (self._sweep.folder / "output").open("a") as output:
            return self._sweep.start(output)

    def strike(self) -> None:
        """Kill the command, or one of its two workers, which may not be there yet."""
        victim = self._rng.randrange(3)
        if victim == 2:
            self.agent.kill()
            self.agent.wait()
            self.n_agents += 1
            self.agent = self._start()
        elif victim < len(workers := worker_pids(self.agent)):
            with suppress(ProcessLookupError):  # it ended by itself a moment ago
                os.kill(workers[victim], signal.SIGKILL)
                self.n_workers += 1


def test_forty_trials_are_exactly_that_under_constant_kills(sweep: Sweep) -> None:
    sweep.write(STUDY)
    sweep.write_code(CODE)
    begun = time.monotonic()
    chaos = Chaos(sweep, seed=3)
    try:
        while time.monotonic() - begun < CHAOS_S and chaos.agent.poll() is None:
            time.sleep(EVERY_S)
            chaos.strike()
        n_finished = sweep.result().n_finished
        chaos.agent.wait(timeout=600)
    finally:
        kill_group(chaos.agent)
    seconds = time.monotonic() - begun
    output = (sweep.folder / "output").read_text()
    assert chaos.agent.returncode == 0, output

    sweep.assert_truth(finished=TRIALS)
    states = list(sweep.states().values())
    numbers = range(len(states))
    assert all(len(sweep.epochs(n)) == EPOCHS for n in numbers if states[n] == "complete")
    n_needed = sum(len(sweep.epochs(n)) for n in numbers) * BATCHES
    n_trained = (sweep.folder / "batches").stat().st_size
    n_resumed = sweep.n_resumed()
    print(
        f"\n{chaos.n_agents} commands and {chaos.n_workers} workers killed in {CHAOS_S:.0f} s, "
        f"{n_finished} of {TRIALS} trials finished by then, all after {seconds:.0f} s; "
        f"{states.count('failed')} trials failed; trials went on {n_resumed} times; "
        f"{n_trained - n_needed} of {n_needed} batches "
        f"({(n_trained - n_needed) / BATCHES:.1f} epochs) done twice"
    )
    assert chaos.n_agents > 5
    assert chaos.n_workers > 5
    doctor = sweep.run("doctor", "sweep.yaml")
    assert doctor.returncode == 0, doctor.stdout
    assert doctor.stdout.startswith("sweep: healthy: ")
    assert len(doctor.stdout.splitlines()) == 1
    assert n_trained - n_needed <= n_resumed * BATCHES
