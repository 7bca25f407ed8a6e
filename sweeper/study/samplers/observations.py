"""What the trials of a study teach a model: a loss at each rung that they reached."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtri

from sweeper.study.attributes import is_known
from sweeper.study.samplers.axis import Array

#: Observations that a model is made of; the price of asking grows with their third power.
MOST_OBSERVATIONS = 160
#: Part of the sum of several losses, beside the largest (Knowles 2006).
_OF_ALL = 0.05
#: Of the regression of gains: so many settings, each a whole range off, halve what it takes for
#: granted, which is that gains are the same everywhere.
_RIDGE = 1.0
#: At which a trial is looked at that went on.
_MOST_RUNGS = 6
#: So far above the worst lie trials that diverged, in deviations of the others: with less, more
#: trials diverge beside a cliff; with more, the model keeps away from what is best there.
_BAD = 2.0

Observation = tuple[FrozenTrial, float, float]


@dataclass(frozen=True)
class Observations:
    """What was seen of the trials; one that was watched at several rungs comes several times.

    Attributes:
        trials: Of each observation.
        losses: Lower is better; infinite of a trial that diverged or ran out of memory [n].
        reach: How far training was, 1 at its end [n].
    """

    trials: Sequence[FrozenTrial]
    losses: Sequence[float]
    reach: Sequence[float]

    @property
    def n_trials(self) -> int:
        """Different trials among them."""
        return len({trial.number for trial in self.trials})


def observe(
    trials: Sequence[FrozenTrial], sign: int, *, is_bad: Sequence[bool], points: Array
) -> Observations:
    """Losses of trials at their end and at rungs, epochs after which trials were pruned.

    What a loss at a rung lacks to one at the end is taken from those that went on: the median of
    what they gained, and how it changes with the setting. A trial that runs teaches at the rungs
    that it has passed.

    Args:
        trials: That ended or run.
        sign: 1 to minimise, -1 to maximise.
        is_bad: Of each trial: it counts as worse than all others.
        points: Embedded settings of the trials [trials, columns].
    """
    good = [(t, point) for t, bad, point in zip(trials, is_bad, points, strict=True) if not bad]
    curves = {trial.number: _curve(trial, sign) for trial, _ in good}
    end = 1 + max((max(curve, default=0) for curve in curves.values()), default=0)
    for trial, _ in good:
        if trial.state == TrialState.COMPLETE:
            curves[trial.number][end] = sign * trial.values[0]
    stops = {
        t.number: max(curve)
        for t, _ in good
        if t.state == TrialState.PRUNED and (curve := curves[t.number])
    }
    epochs = [*sorted(set(stops.values())), end]
    lacks = _lacks(epochs, list(curves.values()), points[~np.array(is_bad, bool)])
    rungs = {epochs[at] for at in np.linspace(0, len(epochs) - 1, _MOST_RUNGS).round().astype(int)}
    seen = [
        (
            trial,
            curves[trial.number][epoch] + lacks[epoch].at(point),
            math.log1p(epoch) / math.log1p(end),
        )
        for trial, point in good
        for epoch in {*rungs, stops.get(trial.number, end)}.intersection(curves[trial.number])
    ]
    seen += [(trial, math.inf, 1.0) for trial, bad in zip(trials, is_bad, strict=True) if bad]
    return _most_telling(seen)


def _most_telling(seen: list[Observation]) -> Observations:
    """A fourth for the lowest loss, the latest in training and the newest for the rest.

    Of what is bad no more than a fourth is kept, unless there is too little else. Those of an
    earlier study fill what the study's own leave.
    """
    quarter = MOST_OBSERVATIONS // 4
    newest = sorted(seen, key=lambda found: (is_known(found[0]), -found[2], -found[0].number))
    finite = [found for found in newest if math.isfinite(found[1])]
    bad = [found for found in newest if not math.isfinite(found[1])]
    bad = bad[: max(quarter, MOST_OBSERVATIONS - len(finite))]
    # Of equal ones the earlier is the better one.
    best = sorted(finite, key=lambda found: (found[1], found[0].number))[:quarter]
    taken = set(map(id, best))
    rest = [found for found in finite if id(found) not in taken]
    kept = [*best, *bad, *rest[: MOST_OBSERVATIONS - len(best) - len(bad)]]
    told = sorted(kept, key=lambda found: (found[0].number, found[2]))
    return Observations(
        [trial for trial, _, _ in told],
        [loss for _, loss, _ in told],
        [reach for *_, reach in told],
    )


def _curve(trial: FrozenTrial, sign: int) -> dict[int, float]:
    """Epoch -> the best loss so far; one that is not finite may stand in a trial that runs."""
    values = trial.intermediate_values
    epochs = sorted(epoch for epoch in values if math.isfinite(values[epoch]))
    losses = np.minimum.accumulate([sign * values[epoch] for epoch in epochs] or [0.0])
    return dict(zip(epochs, map(float, losses), strict=False))


class _Lack(NamedTuple):
    """What is still to be gained, a linear function of the setting."""

    constant: float
    slope: Array

    def at(self, point: Array) -> float:
        return self.constant + float(point @ self.slope)


def _lacks(
    rungs: Sequence[int], curves: Sequence[Mapping[int, float]], points: Array
) -> dict[int, _Lack]:
    """Of each rung; the last is the end, where nothing lacks."""
    lacks = {rungs[-1]: _Lack(0.0, np.zeros(points.shape[1]))}
    for now, then in zip(rungs[-2::-1], rungs[:0:-1], strict=True):
        both = [at for at, curve in enumerate(curves) if now in curve and then in curve]
        gains = np.array([curves[at][then] - curves[at][now] for at in both])
        constant, slope = _regress(points[both], gains) if both else lacks[rungs[-1]]
        lacks[now] = _Lack(lacks[then].constant + constant, lacks[then].slope + slope)
    return lacks


def _regress(points: Array, gains: Array) -> _Lack:
    """Ridge regression about the median; outliers count as far as four median deviations."""
    middle, centre = float(np.median(gains)), points.mean(axis=0)
    most = 4 * np.median(abs(gains - middle))
    off, away = np.clip(gains - middle, -most, most), points - centre
    slope = np.linalg.solve(away.T @ away + _RIDGE * np.eye(len(centre)), away.T @ off)
    return _Lack(middle - float(centre @ slope), slope)


def observe_several(
    trials: Sequence[FrozenTrial],
    signs: Sequence[int],
    *,
    is_bad: Sequence[bool],
    weights: Array,
) -> Observations:
    """One loss of trials that have several, each weighed: the largest, and a little of them all.

    With weights that are drawn anew for each question, the answers spread along the Pareto front.

    Args:
        trials: That ended.
        signs: Of each metric, 1 to minimise, -1 to maximise [metrics].
        is_bad: As in :func:`observe`.
        weights: Of the metrics, which add up to 1 [metrics].

    Source: Knowles 2006 (ParEGO), eq. 2; on ranks and tamed losses in equal parts, not on the
    losses themselves.
    """
    each = list(zip(trials, is_bad, strict=True))
    good = [t for t, bad in each if not bad and t.state == TrialState.COMPLETE]
    losses = np.array([t.values for t in good], float).reshape(-1, len(signs)) * signs
    weighed = weights * np.array([_in_unit(column) for column in losses.T]).T
    whole = weighed.max(axis=1, initial=0) + _OF_ALL * weighed.sum(axis=1)
    seen = [(trial, float(loss), 1.0) for trial, loss in zip(good, whole, strict=True)]
    seen += [(trial, math.inf, 1.0) for trial, bad in each if bad]
    return _most_telling(seen)


def _in_unit(losses: Array) -> Array:
    """Losses of one metric in [0, 1]."""
    if not len(losses):
        return losses
    tamed = _tame(losses)
    tamed = (tamed - tamed.min()) / max(float(np.ptp(tamed)), 1e-12)
    unit: Array = (tamed + (rank(losses) - 0.5) / len(losses)) / 2
    return unit


def warp(losses: Array, *, by_rank: bool) -> Array:
    """Losses in units that outliers cannot spoil, in the same order.

    The worse half grows with the logarithm once it is further from the median than the best is, as
    accuracies crowd near the top and a few settings end very badly.

    Args:
        losses: Those that are infinite lie a distance above all others [n].
        by_rank: Half of it are normal scores of the ranks; not where what a branch may still gain
            is held against the others.
    """
    is_finite = np.isfinite(losses)
    finite = np.minimum(losses, np.max(losses[is_finite]))
    warped = _tame(finite)
    if by_rank:
        standard = (warped - warped.mean()) / max(float(warped.std()), 1e-12)
        warped = (standard + ndtri((rank(finite) - 0.5) / len(finite))) / 2
    warped[~is_finite] += _BAD * np.std(warped[is_finite])
    return warped


def rank(losses: Array) -> Array:
    """From 1 for the lowest; equal ones share the mean of theirs."""
    _, of, n_equal = np.unique(losses, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(n_equal) - (n_equal - 1) / 2)[of]
    return ranks


def _tame(losses: Array) -> Array:
    """Flatten what is further above the median than the best is below it."""
    middle = np.median(losses)
    unit = max(float(middle - np.min(losses)), 1e-12)
    tamed: Array = np.minimum(losses, middle + unit)
    return tamed + unit * np.log1p(np.maximum(losses - middle - unit, 0) / unit)
