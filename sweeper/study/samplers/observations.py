"""What the trials of a study teach a model: a loss at each rung that they reached."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtri
from scipy.stats import rankdata

from sweeper.study.samplers.axis import Array

#: Observations that a model is made of; the price of asking grows with their third power.
MOST_OBSERVATIONS = 160


@dataclass(frozen=True)
class Observations:
    """What was seen of the trials; one that was watched at several rungs comes several times.

    Attributes:
        trials: Of each observation.
        losses: Lower is better; infinite of a trial that diverged or ran out of memory [n].
        reach: How far training was, 1 at its end [n].
    """

    trials: Sequence[FrozenTrial]
    losses: Array
    reach: Array

    @property
    def n_trials(self) -> int:
        """Different trials among them."""
        return len({trial.number for trial in self.trials})


def observe(trials: Sequence[FrozenTrial], sign: int, *, is_bad: Sequence[bool]) -> Observations:
    """Losses of the trials that ended, at each rung, an epoch after which trials were pruned.

    What a loss at a rung lacks to one at the end is the median gain, from rung to rung, of those
    that went on.

    Args:
        trials: Ended ones.
        sign: 1 to minimise, -1 to maximise.
        is_bad: Of each trial: it counts as worse than all others.
    """
    seen: list[tuple[FrozenTrial, float, float]] = []
    curves: dict[int, dict[int, float]] = {}
    for trial, bad in zip(trials, is_bad, strict=True):
        if bad:
            seen.append((trial, math.inf, 1.0))
        else:
            curves[trial.number] = _curve(trial, sign)
    end = 1 + max((max(curve) for curve in curves.values() if curve), default=0)
    for trial in trials:
        if trial.number in curves and trial.state == TrialState.COMPLETE:
            curves[trial.number][end] = sign * trial.values[0]
    stops = {max(curve) for curve in curves.values() if curve and end not in curve}
    rungs = [*sorted(stops), end]
    lack = _lacks(rungs, curves.values())
    by_number = {trial.number: trial for trial in trials}
    for number, curve in curves.items():
        for rung in (rung for rung in rungs if rung in curve):
            loss = curve[rung] + lack[rung]
            seen.append((by_number[number], loss, math.log1p(rung) / math.log1p(end)))
    # What was learned early in training is worth least, then what is old.
    seen.sort(key=lambda found: (found[2], found[0].number))
    seen = seen[-MOST_OBSERVATIONS:]
    return Observations(
        [trial for trial, _, _ in seen],
        np.array([loss for _, loss, _ in seen], float),
        np.array([reach for _, _, reach in seen], float),
    )


def _curve(trial: FrozenTrial, sign: int) -> dict[int, float]:
    """Epoch -> the best loss so far."""
    values = trial.intermediate_values
    epochs = sorted(values)
    losses = np.minimum.accumulate([sign * values[epoch] for epoch in epochs]) if epochs else []
    return dict(zip(epochs, map(float, losses), strict=True))


def _lacks(rungs: Sequence[int], curves: "Sequence[Mapping[int, float]]") -> dict[int, float]:
    lack = {rungs[-1]: 0.0}
    for now, then in zip(rungs[-2::-1], rungs[:0:-1], strict=True):
        gains = [curve[then] - curve[now] for curve in curves if now in curve and then in curve]
        lack[now] = lack[then] + (float(np.median(gains)) if gains else 0.0)
    return lack


def warp(losses: Array, *, by_rank: bool) -> Array:
    """Losses in units that outliers cannot spoil, in the same order.

    Args:
        losses: Some may be infinite, not all [n].
        by_rank: Half normal scores of the ranks, half the losses with a logarithmic upper half;
            else outliers alone change, so that what a branch may still gain can be held against
            the others.
    """
    finite = np.minimum(losses, np.max(losses[np.isfinite(losses)]))
    if not by_rank:
        return _tame(finite, 0.75, 5.0)
    tamed = _tame(finite, 0.5, 1.0)
    tamed = (tamed - tamed.mean()) / max(tamed.std(), 1e-12)
    scores: Array = ndtri((rankdata(finite) - 0.5) / len(finite))
    return (tamed + scores) / 2


def _tame(losses: Array, quantile: float, reach: float) -> Array:
    """Flatten what is further above a quantile than ``reach`` times the best is below it."""
    middle = np.quantile(losses, quantile)
    unit = max(reach * (middle - np.min(losses)), 1e-12)
    tamed: Array = np.minimum(losses, middle + unit)
    return tamed + unit * np.log1p(np.maximum(losses - middle - unit, 0) / unit)
