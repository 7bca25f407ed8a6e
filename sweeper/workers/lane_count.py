"""How many trials a worker trains at once: so many as is planned, or as is found to be best."""

import time
from collections.abc import Callable, Mapping

from sweeper.workers.lane_plan import LanePlan

#: A number is judged by so many seconds at least, and so many stretches of each trial ...
_LEAST_S, _LEAST_STRETCHES = 1.0, 8
#: ... and twice as many trials are worth it if they do so many times the epochs a second. Each
#: takes longer then, and more are drawn without knowing how the others end.
_WORTH = 1.2
#: Measurements that count, of a number that seems not to be worth it.
_MEASURED = 2


class LaneCount:
    """Doubles the trials at once as long as more epochs are done a second by all together.

    A number is measured while so many are at work, be they the same trials or others. Its first
    measurement does not count, as all of them have just begun: they load and capture; of the next
    two the better one does.

    Args:
        plan: How many at first, and at most.
        found: Told, once, which number is best and the epochs a second of all that were tried.
        now: Seconds of a clock that never goes back.

    Attributes:
        n: Trials to train at once now.
    """

    def __init__(
        self,
        plan: LanePlan,
        found: Callable[[int, Mapping[int, float]], None] = lambda n, rates: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = plan.most
        self._is_found = not plan.is_open
        self._found = found
        self._now = now
        self._rates: dict[int, float] = {}
        self._looked_s = now()
        self._epochs_since, self._n_since = 0.0, 0
        self._try(plan.first)

    def lower(self, n: int) -> None:
        """Train no more than ``n`` at once from now on, >= 1: there is no room for more."""
        self.n, self._is_found = n, True

    def add(self, epochs: float) -> None:
        """Count what a stretch has done, as a part of its trial's epoch, in [0, 1]."""
        self._epochs_since += epochs
        self._n_since += 1

    def look(self, n_at_work: int) -> None:
        """Judge the number as soon as it is measured.

        Args:
            n_at_work: Trials that were trained since the last look; if they were not as many as
                there should be, nothing is learned from it.
        """
        looked_s, self._looked_s = self._looked_s, self._now()
        if n_at_work == self.n and not self._is_found:
            self._seconds += self._looked_s - looked_s
            self._epochs += self._epochs_since
            self._n_stretches += self._n_since
            if self._seconds >= _LEAST_S and self._n_stretches >= _LEAST_STRETCHES * self.n:
                self._judge(self._epochs / self._seconds)
        self._epochs_since, self._n_since = 0.0, 0

    def _try(self, n: int) -> None:
        self.n, self._n_measured = n, 0
        self._measure()

    def _measure(self) -> None:
        self._epochs, self._n_stretches, self._seconds = 0.0, 0, 0.0

    def _judge(self, rate: float) -> None:
        self._n_measured += 1
        if self._n_measured == 1:
            self._measure()
            return
        self._rates[self.n] = max(rate, self._rates.get(self.n, 0.0))
        if self._rates[self.n] < _WORTH * self._rates.get(self.n // 2, 0.0):
            if self._n_measured <= _MEASURED:
                self._measure()
            else:
                self._settle(self.n // 2)
        elif self.n < self._most:
            self._try(2 * self.n)
        else:
            self._settle(self.n)

    def _settle(self, n: int) -> None:
        self.n, self._is_found = n, True
        self._found(n, self._rates)
