"""What was recorded of a trial beside two trainings of it alone."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sweeper.trial import EpochMetrics

#: Where the same numbers cannot be asked for, this share of a curve's largest value, or of the
#: weights' norm, is allowed whatever two runs alone differ by.
STATED_TOLERANCE = 0.02
#: Of three runs that differ by chance the recorded one may well be the odd one out, so it may be
#: so many times as far from the nearer of the other two as they are from each other: in the metric
#: in which they differ most, as two runs may be close in another by chance.
MARGIN = 3
#: The wall time of an epoch, which no two runs have in common.
_TIMES = ("epoch_seconds",)


class Verdict(StrEnum):
    """What came of one trial; the words are those of ``--json``."""

    SAME = "same"
    WITHIN = "within"
    DIFFERS = "differs"
    UNVERIFIED = "unverified"


@dataclass(frozen=True)
class Parting:
    """Where two curves part.

    Attributes:
        epoch: The first one that is further apart than it may be.
        value: Of the record; of the first run alone if the two alone part from each other. None
            where it has none.
        other: Of the run alone that is nearer to the record; of the second run alone.
    """

    epoch: int
    value: float | None
    other: float | None


@dataclass(frozen=True)
class Difference:
    """One metric, or the weights, in three runs.

    Attributes:
        name: Of the metric.
        ends: The last value: recorded, alone, and alone once more; None where a run has none, and
            of weights.
        recorded: By how much the record differs from the nearer run alone, in [0, inf].
        alone: By how much the two runs alone differ.
        tolerance: The most that ``recorded`` may be; 0 asks the same of ``alone``.
        parting: Where they are further apart than that; None if nowhere, and of weights.
    """

    name: str
    ends: tuple[float | None, float | None, float | None]
    recorded: float
    alone: float
    tolerance: float
    parting: Parting | None = None

    @property
    def is_within(self) -> bool:
        """Whether it is as it was recorded."""
        return self.recorded <= self.tolerance and (self.tolerance > 0 or self.alone == 0)


def _tolerance(alone: float, *, is_exact: bool) -> float:
    return 0.0 if is_exact else max(STATED_TOLERANCE, MARGIN * alone)


def compare_weights(first: float, second: float, alone: float, *, is_exact: bool) -> Difference:
    """The weights, as distances in shares of their norm.

    Args:
        first: From what was recorded to the first run alone.
        second: To the second one.
        alone: From the first run alone to the second.
        is_exact: Whether the same numbers are asked for.
    """
    tolerance = _tolerance(alone, is_exact=is_exact)
    return Difference("weights", (None, None, None), min(first, second), alone, tolerance)


def compare_curves(
    recorded: Sequence[EpochMetrics],
    alone: Sequence[EpochMetrics],
    again: Sequence[EpochMetrics],
    *,
    only: Sequence[str] = (),
    is_exact: bool,
) -> list[Difference]:
    """Every metric that one of the runs has, but for wall time.

    Args:
        recorded: By epoch.
        alone: The first run alone.
        again: The second one.
        only: Metrics that are looked at; empty for all.
        is_exact: Whether the same numbers are asked for.
    """
    runs = (recorded, alone, again)
    names = dict.fromkeys(name for run in runs for epoch in run for name in epoch.values)
    wanted = [name for name in names if name not in _TIMES and (not only or name in only)]
    curves = {name: [_curve(run, name) for run in runs] for name in wanted}
    gaps = {name: _alone_gap(each) for name, each in curves.items()}
    chance = max((gap for gap in gaps.values() if gap < math.inf), default=0.0)
    return [
        _compare(name, curves[name], gap, _tolerance(max(gap, chance), is_exact=is_exact))
        for name, gap in gaps.items()
    ]


_Curve = Mapping[int, float]


def _curve(run: Sequence[EpochMetrics], name: str) -> _Curve:
    return {epoch.epoch: epoch.values[name] for epoch in run if name in epoch.values}


def _scale(curves: Sequence[_Curve]) -> float:
    finite = [abs(value) for curve in curves for value in curve.values() if math.isfinite(value)]
    return max(finite, default=0.0) or 1.0


def _alone_gap(curves: Sequence[_Curve]) -> float:
    _, alone, again = curves
    return _largest_gap(alone, again, _scale(curves))


def _compare(
    name: str, curves: Sequence[_Curve], alone_gap: float, tolerance: float
) -> Difference:
    scale = _scale(curves)
    record, alone, again = curves
    nearer = min((alone, again), key=lambda run: _largest_gap(record, run, scale))
    recorded_gap = _largest_gap(record, nearer, scale)
    parting = _parting(record, nearer, scale, tolerance)
    if parting is None and tolerance == 0:
        parting = _parting(alone, again, scale, tolerance)
    first, second, third = (curve[max(curve)] if curve else None for curve in curves)
    return Difference(name, (first, second, third), recorded_gap, alone_gap, tolerance, parting)


def _largest_gap(first: _Curve, second: _Curve, scale: float) -> float:
    return max((gap for _, gap in _gaps(first, second, scale)), default=0.0)


def _parting(first: _Curve, second: _Curve, scale: float, tolerance: float) -> Parting | None:
    for epoch, gap in _gaps(first, second, scale):
        if gap > tolerance:
            return Parting(epoch, first.get(epoch), second.get(epoch))
    return None


def _gaps(first: _Curve, second: _Curve, scale: float) -> Iterator[tuple[int, float]]:
    """By how much two curves differ after each epoch, in shares of the scale."""
    for epoch in sorted(first.keys() | second.keys()):
        yield epoch, _gap(first.get(epoch), second.get(epoch), scale)


def _gap(first: float | None, second: float | None, scale: float) -> float:
    if first is None or second is None:
        return math.inf
    if first == second or math.isnan(first) and math.isnan(second):
        return 0.0
    gap = abs(first - second) / scale
    return math.inf if math.isnan(gap) else gap
