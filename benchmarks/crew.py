"""Processes that ask for a study's trials, claim and end them, and train nothing."""

import multiprocessing
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from long_study import LongStudy

from sweeper.study.conclude import conclude
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.timing import TimeLedger
from sweeper.trial import EpochMetrics, TrialState

#: So long the trials of one measurement may take; and so long reading the history may.
LIMIT_S, OPENING_S = 20.0, 120.0
#: Before the processes are forked; with what Optuna's gp imports when it is asked first.
_IMPORTED = [
    "psycopg",
    "sqlalchemy",
    "torch",
    "sweeper.study.conclude",
    "sweeper.study.create",
    "scipy.stats",
]
_IMPORTED += [f"optuna._gp.{name}" for name in ("acqf", "gp", "optim_mixed", "prior")]


@dataclass(frozen=True)
class Cell:
    """What some workers measured: seconds of each trial, and of all together."""

    seconds: Sequence[float]
    elapsed_s: float


class Crew:
    """Processes that ask for one study."""

    def __init__(self, study: LongStudy, n_workers: int) -> None:
        self._study = study
        self._n_workers = n_workers
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []

    def _start(self) -> None:
        # Forked from one that has imported everything, and opened nothing.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_IMPORTED)
        for index in range(self._n_workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=ask, args=(self._study, f"worker{index}", theirs))
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def measure(self, sampler: str, n_workers: int, n_each: int) -> Cell | None:
        """Let some of them run trials; None if they are not done in time, which ends them all."""
        if not self._processes:
            self._start()
        pipes = self._pipes[:n_workers]
        for pipe in pipes:
            pipe.send((sampler, n_each))
        if self._receive(pipes, OPENING_S) is None:
            raise TimeoutError(f"{n_workers} workers did not open the study in {OPENING_S:.0f} s")
        begun = time.perf_counter()
        for pipe in pipes:
            pipe.send("go")
        answers = self._receive(pipes, LIMIT_S)
        if answers is None:
            self.end()
            return None
        elapsed_s = time.perf_counter() - begun
        return Cell([seconds for answer in answers for seconds in answer], elapsed_s)

    def _receive(self, pipes: Sequence[Connection], limit_s: float) -> list[Any] | None:
        deadline_s = time.monotonic() + limit_s
        if not all(pipe.poll(max(0.0, deadline_s - time.monotonic())) for pipe in pipes):
            return None
        return [pipe.recv() for pipe in pipes]

    def end(self) -> None:
        """Kill them; what they were at stays unfinished."""
        for process in self._processes:
            process.kill()
            process.join()
        self._processes.clear()
        self._pipes.clear()


def ask(long_study: LongStudy, worker: str, pipe: Connection) -> None:
    """One process of a crew: run as many trials with a sampler as it is told, when told to."""
    torch.set_num_threads(1)
    study = None
    while True:
        sampler, n_trials = pipe.recv()
        study = long_study.open(sampler, like=study)
        pipe.send("ready")
        pipe.recv()
        pipe.send([time_trial(study, worker) for _ in range(n_trials)])


def time_trial(study: SweepStudy, worker: str) -> float:
    """Run a trial that trains nothing; its seconds without the report."""
    metric, reporting_s = study.spec.objective.metrics[0], 0.0
    begun = time.perf_counter()
    [trial] = study.queue.claim("benchmark", worker, n=1)  # the goal leaves room for all trials
    with RunningTrial(study, trial, is_stopping=lambda: False, ledger=TimeLedger()) as claim:

        def run() -> Iterator[None]:
            nonlocal reporting_s
            claim.draw()
            claim.start(None, None, params={}, tags={})
            drawn = time.perf_counter()
            claim.report(EpochMetrics(1, {metric: random.random()}, time.time()))
            reporting_s = time.perf_counter() - drawn
            yield

        state = conclude(claim, run())
    assert state == TrialState.COMPLETE, state
    return time.perf_counter() - begun - reporting_s
