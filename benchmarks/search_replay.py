"""A problem is searched: through sweeper's own study, or by Optuna alone."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
import yaml
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from search_problems import Problem

from sweeper.config.ranges import Range
from sweeper.config.reader import parse_study
from sweeper.config.settings import Scalar
from sweeper.config.space import most_epochs, suggest_config
from sweeper.config.study import StudySpec
from sweeper.config.warm_start import WarmStartSpec
from sweeper.paths import RunPaths
from sweeper.study.conclude import conclude
from sweeper.study.running_trial import RunningTrial
from sweeper.study.samplers.optuna import to_distribution
from sweeper.study.source_study import source_trials
from sweeper.study.source_trials import Source, fit_trials
from sweeper.study.study import SweepStudy
from sweeper.study.warm_start import keep_warm_start
from sweeper.timing import TimeLedger
from sweeper.trial import EpochMetrics
from sweeper.trial import TrialState as SweeperState

_METRIC = "loss"
_AGENT = "agent"


@dataclass(frozen=True)
class Asked:
    """One trial of a replay, in the order of their ends.

    Attributes:
        regret: Of its setting, without noise; nan if it diverged.
        lowest: What it reported at best, to be minimised; infinite if nothing finite.
        n_epochs: That it was trained for.
        cpu_s: Of drawing its setting.
        is_repeated: A trial before had the same setting.
    """

    regret: float
    lowest: float
    n_epochs: int
    cpu_s: float
    is_repeated: bool


def spec_of(problem: Problem, seed: int, n_trials: int, folder: Path) -> StudySpec:
    """The study file of a problem; everything that it does not say is the default."""
    epochs = {"epochs": problem.n_epochs} if problem.n_epochs > 1 else {}
    study = {
        "name": "replay",
        "objective": {"metric": _METRIC, "direction": problem.direction},
        "budget": {"trials": n_trials},
        "seed": seed,
        "train": {"function": "package.module:run", **epochs, **problem.study},
        "forbid": [
            {f"train.{name}": value for name, value in rule.items()} for rule in problem.forbid
        ],
        **({} if problem.n_epochs > 1 else {"pruner": {"name": "none"}}),
    }
    return parse_study(yaml.safe_dump(study, sort_keys=False), folder / "replay.yaml")


class _Record:
    """What a problem answers to settings, and what becomes of them."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._rng = np.random.default_rng(seed)
        self._sign = -1 if problem.direction == "maximize" else 1
        self._settings: set[frozenset[tuple[str, Any]]] = set()
        self.trials: list[Asked] = []

    def answer(self, values: dict[str, Any]) -> Sequence[float]:
        return self._problem.report(values, self._rng)

    def note(self, values: dict[str, Any], reported: Sequence[float], cpu_s: float) -> None:
        setting = frozenset(values.items())
        finite = [self._sign * value for value in reported if math.isfinite(value)]
        is_over = len(finite) == len(reported)
        self.trials.append(
            Asked(
                self._problem.regret(values) if is_over else math.nan,
                min(finite, default=math.inf),
                len(reported),
                cpu_s,
                setting in self._settings,
            )
        )
        self._settings.add(setting)


def by_sweeper(
    problem: Problem, seed: int, n_trials: int, n_pending: int, n_epochs: float
) -> list[Asked]:
    """Claimed, drawn, reported and concluded as a worker does it, by a study file's defaults.

    Args:
        problem: What is searched.
        seed: Of the study.
        n_trials: At most.
        n_pending: Trials that run at the same time; each asks before the eldest has ended.
        n_epochs: Of all trials together, at most.
    """
    return replay(problem, seed, n_trials, n_pending=n_pending, n_epochs=n_epochs)[0]


def replay(
    problem: Problem,
    seed: int,
    n_trials: int,
    *,
    n_pending: int = 1,
    n_epochs: float = math.inf,
    source: Source | None = None,
) -> tuple[list[Asked], Source]:
    """As :func:`by_sweeper`; and what another study may begin with of it.

    Args:
        problem: As there, like the others.
        seed: As there.
        n_trials: As there.
        n_pending: As there.
        n_epochs: As there.
        source: What this study begins with of an earlier one.
    """
    record = _Record(problem, seed)
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").exists() else None) as name:
        spec = spec_of(problem, seed, n_trials, Path(name))
        storage = InMemoryStorage()
        directions = [StudyDirection[problem.direction.upper()]]
        study_id = storage.create_new_study(directions, spec.name)
        if source is not None:
            warm = replace(spec, warm_start=WarmStartSpec(study="earlier"))
            keep_warm_start(storage, study_id, fit_trials(warm, source))
        study = SweepStudy(spec, RunPaths(Path(name) / "mlruns", spec.name), storage)
        open_trials: list[tuple[RunningTrial, dict[str, Any], float]] = []
        while len(record.trials) < study.goal and n_epochs > 0:
            while len(open_trials) < n_pending and (begun := _begin(study)):
                open_trials.append(begun)
            n_epochs -= _finish(record, *open_trials.pop(0), n_epochs)
        for trial, *_ in open_trials:
            trial.__exit__(None, None, None)
    ended = source_trials(spec, study.trials())
    return record.trials, Source("trials of earlier", ended, most_epochs(spec))


def _begin(study: SweepStudy) -> tuple[RunningTrial, dict[str, Any], float] | None:
    study.leases.renew(_AGENT)
    claimed = study.queue.claim(_AGENT, "worker", n=1)
    if not claimed:
        return None
    trial = RunningTrial(study, claimed[0], is_stopping=lambda: False, ledger=TimeLedger())
    begun_s = time.process_time()
    params = trial.draw().params
    cpu_s = time.process_time() - begun_s
    names = study.spec.ranges()
    return trial, {n.removeprefix("train."): v for n, v in params.items() if n in names}, cpu_s


def _finish(
    record: _Record, trial: RunningTrial, values: dict[str, Any], cpu_s: float, most: float
) -> int:
    reported: list[float] = []

    def body() -> Iterator[None]:
        trial.start(None, None, params={}, tags={})
        for epoch, value in enumerate(record.answer(values), 1):
            reported.append(value)
            trial.report(EpochMetrics(epoch, {_METRIC: value}, time.time()))
            yield
            if len(reported) >= most:
                return

    with trial:
        assert conclude(trial, body()) != SweeperState.FAILED
    record.note(values, reported, cpu_s)
    return len(reported)


def by_optuna(
    problem: Problem,
    sampler: Callable[[], BaseSampler],
    pruner: BasePruner,
    seed: int,
    n_trials: int,
    n_pending: int,
    n_epochs: float,
) -> list[Asked]:
    """By Optuna's ask and tell, in memory; arguments as of :func:`by_sweeper`."""
    spec = spec_of(problem, seed, n_trials, Path())
    direction = StudyDirection[problem.direction.upper()]
    study = optuna.create_study(sampler=sampler(), pruner=pruner, direction=direction)
    record = _Record(problem, seed)
    open_trials: list[tuple[optuna.Trial, dict[str, Any], float]] = []
    while len(record.trials) < n_trials and n_epochs > 0:
        while len(open_trials) < min(n_pending, n_trials - len(record.trials)):
            begun_s = time.process_time()
            trial = study.ask()
            values: dict[str, Any] = {}
            suggest_config(spec, partial(_suggest, trial, values), seed=0)
            open_trials.append((trial, values, time.process_time() - begun_s))
        trial, values, cpu_s = open_trials.pop(0)
        reported: list[float] = []
        is_pruned = False
        for epoch, value in enumerate(record.answer(values), 1):
            reported.append(value)
            trial.report(value, epoch)
            is_pruned = math.isnan(value) or epoch < problem.n_epochs and trial.should_prune()
            if is_pruned or len(reported) >= n_epochs:
                break
        best = min(reported) if problem.direction == "minimize" else max(reported)
        study.tell(trial, None if is_pruned else best, TrialState.PRUNED if is_pruned else None)
        record.note(values, reported, cpu_s)
        n_epochs -= len(reported)
    return record.trials


def _suggest(trial: optuna.Trial, values: dict[str, Any], name: str, of: Range) -> Scalar:
    value: Scalar = trial._suggest(name, to_distribution(of))
    values[name.removeprefix("train.")] = value
    return value


#: Contender -> a function as :func:`by_sweeper`; behind ``+`` stands an epoch's first rung.
def contender(name: str) -> Callable[[Problem, int, int, int, float], list[Asked]]:
    """Who searches: ``sweeper``, or a sampler of Optuna, with ``+asha`` by its pruner.

    asha prunes from epoch 1 on, which is best for random settings on these curves.
    """
    if name == "sweeper":
        return by_sweeper
    sampler, _, pruner = name.partition("+")

    def run(
        problem: Problem, seed: int, n_trials: int, n_pending: int, n_epochs: float
    ) -> list[Asked]:
        samplers: dict[str, Callable[[], BaseSampler]] = {
            "random": lambda: RandomSampler(seed=seed),
            "tpe": lambda: TPESampler(seed=seed, multivariate=True, group=True),
            "gp": lambda: GPSampler(seed=seed),
        }
        asha = SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
        return by_optuna(
            problem, samplers[sampler], asha if pruner else NopPruner(),
            seed, n_trials, n_pending, n_epochs,
        )  # fmt: skip

    return run
