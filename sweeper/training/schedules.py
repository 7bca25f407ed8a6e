"""The learning rate over time."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every update of a trial.

    Attributes:
        name: constant; cosine: half a cosine from the peak to zero after the ramp; step: a drop by
            ``drop_factor`` after every ``drop_steps`` updates, those of the ramp included.
        peak: Rate at the ramp's end, > 0.
        total_steps: Updates in the trial, >= 1.
        warmup_steps: Length of the linear ramp before it, in [0, total_steps); 0 means none.
        drop_steps: Updates between drops, >= 1; step only.
        drop_factor: In (0, 1]; step only.

    Raises:
        ValueError: If a bound above does not hold.

    Source: Loshchilov and Hutter 2017 (SGDR), eq. 5 with minimum 0 and no restart, for cosine; the
    ramp is ours.
    """

    name: Literal["constant", "cosine", "step"]
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
        ramp = min(1.0, (step + 1) / (self.warmup_steps + 1))
        if self.name == "cosine":
            done = max(0, step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
            return self.peak * ramp * 0.5 * (1 + math.cos(math.pi * done))
        if self.name == "step":
            drops: int = step // self.drop_steps
            return self.peak * ramp * self.drop_factor**drops
        return self.peak * ramp
