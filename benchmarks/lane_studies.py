"""A small study, trained in one way or another by the workers of ``sweeper run``, in this process.

MLPs on the digits whose widths and batch sizes are searched: six kinds of programs, and only those
of one kind share a pack.
"""

import math
import multiprocessing
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from sweeper.config.reader import parse_study
from sweeper.paths import RunPaths
from sweeper.study.create import create_study
from sweeper.study.study import SweepStudy
from sweeper.training.packed.pack import Pack
from sweeper.workers.devices import Placement
from sweeper.workers.lane_plan import plan_lanes
from sweeper.workers.protocol import AgentArgs, WorkerArgs
from sweeper.workers.signals import StopRequest
from sweeper.workers.worker import Worker

N_TRIALS = 40
_AGENT = "agent"
_STUDY: Mapping[str, Any] = {
    "name": "search_lanes",
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "budget": {"trials": N_TRIALS},
    # What ``auto`` takes, and here may not leave for a cheaper one, should the machine be busy.
    "sampler": {"name": "conditional_gp"},
    # Whoever is pruned ends early, so with many trials at work the worst would come first.
    "pruner": {"name": "none"},
    "data": {"name": "digits", "batch_size": {"choices": [32, 64]}},
    "model": {
        "architecture": "mlp",
        "depth": 1,
        "width": {"choices": [16, 32, 64]},
        "activation": {"choices": ["relu", "tanh", "gelu"]},
        "dropout": {"low": 0.05, "high": 0.5},
    },
    "train": {
        "epochs": 4,
        "optimizer": "sgd",
        "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
        "momentum": {"low": 0.5, "high": 0.99},
        "l2": {"low": 1e-7, "high": 1e-2, "log": True},
    },
    "tracking": {"log_models": "none"},
}


@dataclass(frozen=True)
class Way:
    """How a study's trials are trained.

    Attributes:
        title: Of its row.
        run: As in a study file.
        n_workers: Processes.
    """

    title: str
    run: Mapping[str, int]
    n_workers: int = 1

    @property
    def n_at_work(self) -> int:
        """Trials that are trained at the same time."""
        return max(self.n_workers, *self.run.values(), 1)


ONE = Way("one trial at a time", {})
WAYS = (
    ONE,
    Way("8 workers, a trial each", {}, n_workers=8),
    Way("8 lanes, packs of 8", {"pack": 8}),
    Way("16 lanes, packs of 8", {"lanes": 16, "pack": 8}),
    Way("32 lanes, packs of 8", {"lanes": 32, "pack": 8}),
)


@dataclass
class Found:
    """What one study found.

    Attributes:
        losses: Lowest validation loss of each trial, in the order of their ends; nan for none.
        cpu_s: Of all that trained.
        n_together: Members of a pack that had a batch in one of its steps, on average; 0 without.
    """

    losses: list[float]
    cpu_s: float
    n_together: float


def search(way: Way, seed: int) -> Found:
    """Train a whole study."""
    with TemporaryDirectory() as folder:
        begun_s, study = _cpu_s(), _open(Path(folder), way, seed)
        study.queue.top_up()
        with _counting_packs() as sizes:
            _work(study, Path(folder), way, seed)
        cpu_s = _cpu_s() - begun_s
        trials = [trial for trial in study.trials() if trial.state.is_finished()]
        assert len(trials) == study.goal, study.counts()
    trials.sort(key=lambda trial: (trial.datetime_complete, trial.number))
    losses = [min(trial.intermediate_values.values(), default=math.nan) for trial in trials]
    return Found(losses, cpu_s, mean(sizes or [0]))


def _open(folder: Path, way: Way, seed: int) -> SweepStudy:
    text = yaml.safe_dump({**_STUDY, "seed": seed, "run": dict(way.run)}, sort_keys=False)
    spec = parse_study(text, folder / "search_lanes.yaml")
    return create_study(spec, RunPaths(folder / "mlruns", spec.name))


def _work(study: SweepStudy, folder: Path, way: Way, seed: int) -> None:
    if way.n_workers == 1:
        _work_alone(study, "worker")
        return
    context = multiprocessing.get_context("fork")

    def work(name: str) -> None:
        _work_alone(_open(folder, way, seed), name)

    processes = [context.Process(target=work, args=(f"w{n}",)) for n in range(way.n_workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def _work_alone(study: SweepStudy, name: str) -> None:
    study.leases.renew(_AGENT)
    renewed_s = time.monotonic()

    def tell_epochs(number: int, epochs: float) -> None:
        nonlocal renewed_s
        if time.monotonic() - renewed_s > 1:
            renewed_s = time.monotonic()
            study.leases.renew(_AGENT)

    place = Placement("cpu", 1, 1, lanes=plan_lanes(study.spec, "cpu", n_workers=1))
    args = AgentArgs.of(study, _AGENT, import_dirs=[], data_label="digits", tags={})
    Worker(
        WorkerArgs.new(args, place, name=name),
        study,
        StopRequest(),
        tell=lambda text: print(f"  {text}"),
        tell_epochs=tell_epochs,
        tell_over=lambda number: None,
    ).work()


@contextmanager
def _counting_packs() -> Iterator[list[int]]:
    """Members at work in each step of a pack."""
    sizes: list[int] = []
    step = Pack.step

    def counted(pack: Pack) -> None:
        sizes.append(len(pack.names_at_work))
        step(pack)

    Pack.step = counted  # type: ignore[assignment, method-assign]
    try:
        yield sizes
    finally:
        Pack.step = step  # type: ignore[method-assign]


def _cpu_s() -> float:
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)
