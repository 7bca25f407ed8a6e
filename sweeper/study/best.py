"""The best trials of a study: the complete one, and a pruned one that was better."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.config.settings import Scalar
from sweeper.study.attributes import seconds_of, state_of
from sweeper.trial import Objective, TrialState


@dataclass(frozen=True)
class Best:
    """A trial that no other one beats.

    Attributes:
        number: Of the trial.
        values: The objective's metrics, of the epoch that counts.
        params: What was searched, by dotted name.
        load: Number of a trial -> its model.
    """

    number: int
    values: Mapping[str, float]
    params: Mapping[str, Scalar]
    load: Callable[[int], Any] | None = field(default=None, repr=False, compare=False)

    def load_model(self) -> Any:
        """Its model as MLflow keeps it, ready to ``predict``; see docs/served-models.md.

        Raises:
            TrackerError: If MLflow has none, or cannot be used.
        """
        assert self.load is not None, "only the result of sweeper.run knows MLflow"
        return self.load(self.number)

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"trial": self.number, "values": dict(self.values), "params": dict(self.params)}


@dataclass(frozen=True)
class BestPruned:
    """A pruned trial that was better than any complete one is; it has no model.

    Attributes:
        number: Of the trial.
        values: The objective's metric, of the epoch that counts.
        params: What was searched, by dotted name.
        epoch: After which it was pruned.
    """

    number: int
    values: Mapping[str, float]
    params: Mapping[str, Scalar]
    epoch: int

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "trial": self.number,
            "values": dict(self.values),
            "params": dict(self.params),
            "epochs": self.epoch,
        }


@dataclass(frozen=True)
class BestSoFar:
    """A complete trial that is the best of a metric, while a study runs.

    Attributes:
        number: Of the trial.
        values: The objective's metrics, of the epoch that counts.
        params: What was searched, by dotted name.
        n_epochs: Epochs that it reported; 0 with several metrics, as the storage has none then.
        seconds: In which processes had it, all of them together.
        ended_s: When it ended, seconds since the Unix epoch.
    """

    number: int
    values: Mapping[str, float]
    params: Mapping[str, Scalar]
    n_epochs: int
    seconds: float
    ended_s: float


def best_so_far(trials: Iterable[FrozenTrial], metrics: Sequence[str]) -> list[BestSoFar]:
    """Complete trials for people who know no Optuna."""
    return [
        BestSoFar(
            trial.number,
            dict(zip(metrics, trial.values, strict=True)),
            trial.params,
            trial.last_step or 0,
            seconds,
            trial.datetime_complete.timestamp(),
        )
        for trial in trials
        if trial.datetime_complete and (seconds := seconds_of(trial)) is not None
    ]


def best_complete(trials: Sequence[FrozenTrial], objective: Objective) -> FrozenTrial | None:
    """The best of the complete trials, the earliest among equals.

    Args:
        trials: In any state, each of one value at most.
        objective: What that value is of.
    """
    complete = (trial for trial in trials if trial.state == OptunaState.COMPLETE)
    return min(complete, key=lambda trial: loss_of(trial, objective), default=None)


def best_pruned(trials: Sequence[FrozenTrial], objective: Objective) -> FrozenTrial | None:
    """The best of the pruned trials if it is better than every complete one.

    Not one that diverged, nor one whose setting has since been trained to its end. Arguments as
    for :func:`best_complete`.
    """
    best = best_complete(trials, objective)
    bound = math.inf if best is None else loss_of(best, objective)
    pruned = (
        trial
        for trial in trials
        if state_of(trial) == TrialState.PRUNED
        and trial.values
        and loss_of(trial, objective) < bound
    )
    finished = [trial.params for trial in trials if trial.state == OptunaState.COMPLETE]
    for trial in sorted(pruned, key=lambda trial: loss_of(trial, objective)):
        if trial.params not in finished:
            return trial
    return None


def loss_of(trial: FrozenTrial, objective: Objective) -> float:
    """The first value of a trial, turned so that less is better."""
    return objective.signs[0] * float(trial.values[0])
