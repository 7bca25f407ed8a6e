"""Two minutes in which a worker, a program or the command itself is killed every two seconds."""

import os
import random
import signal
import subprocess
import time
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import pytest

from sweeper.events import Started
from tests.support.processes import processes_in
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
#: And how many batches a trial does again at most: those of an epoch, or in lanes of ten seconds,
#: which is more than it has.
LANES = {
    "one lane": ("{workers: 2}", BATCHES),
    "three lanes": ("{workers: 2, lanes: 3}", EPOCHS * BATCHES),
}
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
#: Short epochs, so that a kill in whatever moment comes after several of them.
PACK_EPOCHS, PACK_BATCHES = 100, 8
PACK_STUDY = f"""
budget: {{trials: {TRIALS}}}
sampler: {{name: tpe}}
pruner: {{name: none}}
data: {{name: "own:load", batch_size: 16, mark: {{low: 0, high: 1000000000}}}}
model:
  architecture: mlp
  depth: 1
  width: {{choices: [16, 64]}}
  dropout: {{low: 0.1, high: 0.5}}
train: {{epochs: {PACK_EPOCHS}, learning_rate: {{low: 1e-4, high: 1e-1, log: true}}}}
run: {{workers: 2, pack: 3}}
tracking: {{log_models: best}}
"""
#: Notes when a process trains on a batch of each trial, by the trial's mark: its data are its own,
#: where its model is called for all of a pack at once. A batch takes as long as above. With
#: checkpoints so far apart as they are outside tests, hardly any would come between two kills.
PACK_SAVE_EVERY_S = 0.25
PACK_CODE = f"""
import os, time
import torch
from torch.utils.data import Dataset
from sweeper.workers import runner

runner._SAVE_EVERY_S = {PACK_SAVE_EVERY_S}


class Rows(Dataset):
    def __init__(self, n_rows, notes=None):
        generator = torch.Generator().manual_seed(n_rows)
        self.inputs = torch.randn(n_rows, 8, generator=generator)
        self.targets = self.inputs[:, :4].argmax(1)
        self.notes = notes

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, row):
        return self.inputs[row], self.targets[row].item()

    def __getitems__(self, rows):
        if self.notes is not None and len(rows) == 16:  # others look at some of them
            os.write(self.notes, f"{{os.getpid()}} {{time.monotonic()}}\\n".encode())
            time.sleep(0.002)
        return [self[row] for row in rows]


def load(mark):
    notes = os.open(f"batches-{{mark}}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    return Rows(16 * {PACK_BATCHES}, notes), Rows(32), None
"""
PROGRAM_STUDY = f"""
objective: {{metric: loss, direction: minimize}}
budget: {{trials: {TRIALS}}}
sampler: {{name: tpe}}
pruner: {{name: none}}
train:
  command: python own.py --out ${{trial.checkpoint}} --epochs ${{train.epochs}}
  args: auto
  metrics: ${{trial.checkpoint}}/metrics.jsonl
  epochs: {EPOCHS}
  x: {{low: 0.0, high: 1.0}}
  keep: {{choices: [true, false]}}
run: {{workers: 2, device: cpu}}
"""
#: Counts its epochs. With ``--keep`` it goes on where it was, else it begins again.
PROGRAM = """
import argparse, json, os, pathlib, time

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=pathlib.Path)
parser.add_argument("--epochs", type=int)
parser.add_argument("--x", type=float)
parser.add_argument("--keep", action="store_true")
options = parser.parse_args()
counter = os.open(f"epochs-{options.keep}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
saved = options.out / "epoch"
done = int(saved.read_text()) if options.keep and saved.exists() else 0
with (options.out / "metrics.jsonl").open("a" if options.keep else "w") as rows:
    for epoch in range(done + 1, options.epochs + 1):
        time.sleep(0.1)
        os.write(counter, b"x")
        rows.write(json.dumps({"epoch": epoch, "loss": options.x / epoch}) + "\\n")
        rows.flush()
        saved.with_suffix(".tmp").write_text(str(epoch))
        saved.with_suffix(".tmp").replace(saved)
"""


class Chaos:
    """Kills at random and starts again, and counts."""

    def __init__(self, sweep: Sweep, seed: int) -> None:
        self._sweep = sweep
        self._rng = random.Random(seed)
        self.n_agents = self.n_workers = self.n_programs = 0
        self.agent = self._start()

    def _start(self) -> subprocess.Popen[str]:
        with (self._sweep.folder / "output").open("a") as output:
            return self._sweep.start(output)

    def reign(self) -> int:
        """For two minutes, or until the study is done; how many trials were by then."""
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < CHAOS_S and self.agent.poll() is None:
                time.sleep(EVERY_S)
                self._strike()
            n_finished = self._sweep.result().n_finished
            self.agent.wait(timeout=600)
        finally:
            kill_group(self.agent)
        assert self.agent.returncode == 0, (self._sweep.folder / "output").read_text()
        return n_finished

    def _strike(self) -> None:
        """Kill the command, one of its two workers or a program; some may not be there yet."""
        programs, workers = self._programs(), worker_pids(self.agent)
        victim = self._rng.randrange(4 if programs else 3)
        # On a busy machine most commands would be killed before they have workers.
        if workers and 3 * self.n_workers < self.n_agents:
            victim = self._rng.randrange(len(workers))
        elif not workers and self._rng.random() < 0.5:
            return
        if victim == 3:
            self.n_programs += _kill(self._rng.choice(programs))
        elif victim == 2:
            self.agent.kill()
            self.agent.wait()
            self.n_agents += 1
            self.agent = self._start()
        elif victim < len(workers):
            self.n_workers += _kill(workers[victim])

    def _programs(self) -> list[int]:
        found = processes_in(self._sweep.folder)
        return [pid for pid, command in found.items() if command.startswith("python own.py")]

    def __str__(self) -> str:
        return (
            f"{self.n_agents} commands, {self.n_workers} workers and {self.n_programs} programs "
            f"killed in {CHAOS_S:.0f} s"
        )


def _kill(pid: int) -> bool:
    with suppress(ProcessLookupError):  # it ended by itself a moment ago
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def assert_whole(sweep: Sweep, chaos: Chaos, *, epochs: int = EPOCHS) -> None:
    """The goal exactly, whole curves of complete trials, nothing lost and nothing left."""
    sweep.assert_truth(finished=TRIALS)
    complete = [number for number, state in sweep.states().items() if state == "complete"]
    assert all(len(sweep.epochs(number)) == epochs for number in complete)
    assert chaos.n_agents > 5
    assert chaos.n_workers > 2
    assert processes_in(sweep.folder) == {}
    doctor = sweep.run("doctor", "sweep.yaml")
    assert doctor.returncode == 0, doctor.stdout
    assert doctor.stdout.startswith("sweep: healthy: ")
    assert len(doctor.stdout.splitlines()) == 1


def n_starts(sweep: Sweep, number: int) -> int:
    """How often a process began with a trial, or went on with it."""
    return sum(isinstance(event, Started) for event in sweep.events(number))


@pytest.mark.parametrize(("run", "most_twice"), LANES.values(), ids=LANES)
def test_forty_trials_are_exactly_that_under_constant_kills(
    sweep: Sweep, run: str, most_twice: int
) -> None:
    sweep.write(STUDY.replace("{workers: 2}", run))
    sweep.write_code(CODE)
    chaos = Chaos(sweep, seed=3)
    n_finished = chaos.reign()
    assert_whole(sweep, chaos)
    n_needed = sum(len(sweep.epochs(n)) for n in sweep.states()) * BATCHES
    n_trained = (sweep.folder / "batches").stat().st_size
    n_resumed = sweep.n_resumed()
    print(
        f"\n{chaos}, {n_finished} of {TRIALS} trials finished by then; trials went on "
        f"{n_resumed} times; {n_trained - n_needed} of {n_needed} batches "
        f"({(n_trained - n_needed) / BATCHES:.1f} epochs) done twice"
    )
    assert n_trained - n_needed <= n_resumed * most_twice


def noted_s(notes: Path) -> list[list[float]]:
    """When each process that a trial had trained on a batch of it."""
    lines = [line.split() for line in notes.read_text().splitlines()]
    return [[float(s) for _, s in own] for _, own in groupby(lines, key=lambda line: line[0])]


def most_lost(times_s: Sequence[float]) -> int:
    """Batches that may have come after a checkpoint: until one is due, and to the epoch's end."""
    due = [bisect(times_s, begun_s + PACK_SAVE_EVERY_S) - n for n, begun_s in enumerate(times_s)]
    return max(due) + PACK_BATCHES


def test_so_are_forty_in_packs(sweep: Sweep) -> None:
    """What was done twice is counted for each trial."""
    sweep.write(PACK_STUDY)
    sweep.write_code(PACK_CODE)
    chaos = Chaos(sweep, seed=7)
    n_finished = chaos.reign()
    assert_whole(sweep, chaos, epochs=PACK_EPOCHS)
    runs = sweep.runs()
    n_twice = []
    for number, run in enumerate(runs):
        noted = noted_s(sweep.folder / f"batches-{run.data.params['data.mark']}")
        n_needed = len(sweep.epochs(number)) * PACK_BATCHES
        n_twice.append(sum(map(len, noted)) - n_needed)
        assert 0 <= n_twice[-1] <= sum(map(most_lost, noted[:-1]))
    n_packed = Counter(run.data.tags["sweeper.packed"] for run in runs)
    print(
        f"\n{chaos}, {n_finished} of {TRIALS} trials finished by then; trials went on "
        f"{sweep.n_resumed()} times; {sum(n_twice)} batches ({sum(n_twice) / PACK_BATCHES:.1f} "
        f"epochs) done twice; most computed at once: {dict(sorted(n_packed.items()))}"
    )
    assert n_packed["1"] < TRIALS / 2


def test_so_are_forty_programs(sweep: Sweep) -> None:
    """Some go on where they were, others begin again."""
    sweep.write(PROGRAM_STUDY)
    sweep.write_code(PROGRAM)
    chaos = Chaos(sweep, seed=5)
    n_finished = chaos.reign()
    assert_whole(sweep, chaos)
    assert chaos.n_programs > 2
    params = [run.data.params["train.keep"] for run in sweep.runs()]
    kept = [number for number, keep in enumerate(params) if keep == "True"]
    n_needed = sum(len(sweep.epochs(number)) for number in kept)
    n_trained = (sweep.folder / "epochs-True").stat().st_size
    n_resumed = sum(n_starts(sweep, number) - 1 for number in kept)
    print(
        f"\n{chaos}, {n_finished} of {TRIALS} trials finished by then; of {len(kept)} that go on, "
        f"{n_resumed} times they did, and {n_trained - n_needed} of {n_needed} epochs were twice"
    )
    assert n_trained - n_needed <= n_resumed
