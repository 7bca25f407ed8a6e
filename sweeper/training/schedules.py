"""The learning rate over time."""

import math
from dataclasses import dataclass
from typing import Protocol

from sweeper.config.references import load_reference
from sweeper.config.settings import BuiltInSchedule
from sweeper.errors import TrainingError

#: Of torch's OneCycleLR: share of the training in which the rate rises, and what part of the peak
#: it begins and ends with.
_RISE, _FIRST, _LAST = 0.3, 1 / 25, 1 / 25e4


class Rates(Protocol):
    """The learning rate of every update of a trial."""

    def rate_at(self, step: int) -> float:
        """Learning rate of one update, >= 0, of the number of updates already done."""


@dataclass(frozen=True)
class Schedule:
    """Rates by a rule of its name.

    Attributes:
        name: constant; cosine: half a cosine from the peak to zero after the ramp; step: a drop by
            ``drop_factor`` after every ``drop_steps`` updates, those of the ramp included;
            onecycle: half a cosine up to the peak and another one down, almost to zero.
        peak: Highest rate, > 0.
        total_steps: Updates in the trial, >= 1.
        warmup_steps: Length of the linear ramp before it, in [0, total_steps); 0 means none. Of
            onecycle, which has no ramp, the length of its rise; 0 means three tenths of all.
        drop_steps: Updates between drops, >= 1; step only.
        drop_factor: In (0, 1]; step only.

    Raises:
        ValueError: If a bound above does not hold.

    Source: Loshchilov and Hutter 2017 (SGDR), eq. 5 with minimum 0 and no restart, for cosine; the
    ramp is ours. onecycle has the rates of ``torch.optim.lr_scheduler.OneCycleLR`` at its
    defaults, but leaves the momentum alone.
    """

    name: BuiltInSchedule
    peak: float
    total_steps: int
    warmup_steps: int = 0
    drop_steps: int = 1
    drop_factor: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_steps < self.total_steps:
            raise ValueError(
                f"warmup_steps must be in [0, {self.total_steps}), got {self.warmup_steps}"
            )
        if self.peak <= 0 or self.drop_steps < 1 or not 0 < self.drop_factor <= 1:
            raise ValueError(f"peak, drop_steps or drop_factor is out of bounds in {self}")

    def rate_at(self, step: int) -> float:
        """Learning rate of one update, in (0, peak].

        Args:
            step: Updates already done, in [0, total_steps).
        """
        if self.name == "onecycle":
            return self.peak * self._one_cycle(step)
        rate = self.peak * _ramp(step, self.warmup_steps)
        if self.name == "cosine":
            done = max(0, step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
            return rate * 0.5 * (1 + math.cos(math.pi * done))
        if self.name == "step":
            drops: int = step // self.drop_steps
            return rate * self.drop_factor**drops
        return rate

    def _one_cycle(self, step: int) -> float:
        # Of up to three updates the first has the peak, where torch would begin below it.
        top = max(0.0, (self.warmup_steps or _RISE * self.total_steps) - 1)
        if step <= top:
            return _between(_FIRST, 1.0, step / top if top else 1.0)
        return _between(1.0, _LAST, min(1.0, (step - top) / max(1, self.total_steps - 1 - top)))


class OwnSchedule:
    """Rates by a function of the user's own.

    Args:
        reference: Of ``function(step, total_steps)``, which gives a factor of the peak, >= 0, for
            the update after ``step`` others.
        peak: That the factor is of, > 0.
        total_steps: Updates in the trial, >= 1.
        warmup_steps: As of :class:`Schedule`; the ramp is a factor, too.

    Raises:
        SpecError: If it cannot be imported.
        TrainingError: If it gives no such factor for the first update or the last.
    """

    def __init__(
        self, reference: str, *, peak: float, total_steps: int, warmup_steps: int = 0
    ) -> None:
        self._reference = reference
        self._function = load_reference(reference)
        self._peak = peak
        self._total_steps = total_steps
        self._warmup_steps = warmup_steps
        for step in (0, total_steps - 1):  # a wrong one is told before any training
            self.rate_at(step)

    def rate_at(self, step: int) -> float:
        """See :class:`Rates`.

        Raises:
            TrainingError: If the function raises, or gives no factor.
        """
        step = min(step, self._total_steps - 1)  # whoever times updates does more of them
        where = f"train.schedule: {self._reference}, for update {step} of {self._total_steps},"
        try:
            given = self._function(step, self._total_steps)
        except Exception as exc:
            raise TrainingError(f"{where} raised {type(exc).__name__}: {exc}") from exc
        try:
            factor = float(given)
        except (TypeError, ValueError, RuntimeError):
            factor = math.nan
        if not 0 <= factor < math.inf:
            raise TrainingError(
                f"{where} must return a factor of train.learning_rate, finite and >= 0, "
                f"got {given}"
            )
        return self._peak * _ramp(step, self._warmup_steps) * factor


def _ramp(step: int, warmup_steps: int) -> float:
    return min(1.0, (step + 1) / (warmup_steps + 1))


def _between(start: float, end: float, done: float) -> float:
    """Half a cosine from one to the other, of which the share ``done`` is done."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * done))
