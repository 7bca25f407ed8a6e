"""How many trials a worker trains at once: so many as is planned, or as is found to be best."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

from sweeper.workers.lane_plan import LanePlan

#: A number is judged by so many seconds at least, and so many stretches of each trial; and by an
#: epoch of each, as batches that are evaluated take less time than others, or so many seconds ...
_LEAST_S, _LEAST_STRETCHES, _ENOUGH_S = 1.0, 8, 10.0
#: ... and twice as many trials are worth it if they do so many times the epochs a second. Each
#: takes longer then, and more are drawn without knowing how the others end.
_WORTH = 1.2
#: Measurements that count, of a number that seems not to be worth it.
_MEASURED = 2


class _Measurement:
    """What trials have done while as many were at work as there should be.

    Attributes:
        seconds: So long.
        n_stretches: Of all together.
    """

    def __init__(self) -> None:
        self.seconds, self.n_stretches = 0.0, 0
        self._epochs: dict[int, float] = {}
        self._seconds: dict[int, float] = {}

    def add(self, seconds: float, n_stretches: int, epochs: Mapping[int, float]) -> None:
        """Add what each trial at work has done in so many seconds."""
        self.seconds += seconds
        self.n_stretches += n_stretches
        for trial, done in epochs.items():
            self._epochs[trial] = self._epochs.get(trial, 0.0) + done
            self._seconds[trial] = self._seconds.get(trial, 0.0) + seconds

    @property
    def epochs(self) -> float:
        """Of all together."""
        return sum(self._epochs.values())

    @property
    def rate(self) -> float:
        """Epochs a second of all together."""
        return self.epochs / self.seconds

    @property
    def rates(self) -> Mapping[int, float]:
        """Those of each trial that was at work for most of the time."""
        return {
            trial: self._epochs[trial] / seconds
            for trial, seconds in self._seconds.items()
            if seconds > self.seconds / 2
        }


class LaneCount:
    """Doubles the trials at once as long as more epochs are done a second by all together.

    A number is measured while so many are at work, be they the same trials or others. Its first
    measurement does not count, as all of them have just begun: they load and capture; of the next
    two the better one does.

    Epochs of one trial may take far longer than those of another. So a number is compared with
    half of it by the trials that were measured with both; only where there are none, by all.

    Args:
        plan: How many at first, and at most.
        found: Told, once, which number is best, and of all that were tried the epochs a second
            that so many do, if they are like those of the first one.
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
        self._each: Mapping[int, float] = {}  # the same of each trial with the present number
        self._each_of_half: Mapping[int, float] = {}
        self._looked_s = now()
        self._since: defaultdict[int, float] = defaultdict(float)
        self._n_since = 0
        self._measurement = _Measurement()
        self._try(plan.first)

    def lower(self, n: int) -> None:
        """Train no more than ``n`` at once from now on, >= 1: there is no room for more."""
        self.n, self._is_found = n, True

    def add(self, trial: int, epochs: float) -> None:
        """Count what a stretch has done, as a part of its trial's epoch, in [0, 1]."""
        self._since[trial] += epochs
        self._n_since += 1

    def look(self, at_work: Collection[int]) -> None:
        """Judge the number as soon as it is measured.

        Args:
            at_work: Trials that were trained since the last look; if they were not as many as
                there should be, nothing is learned from it.
        """
        looked_s, self._looked_s = self._looked_s, self._now()
        if len(at_work) == self.n and not self._is_found:
            done = {trial: self._since[trial] for trial in at_work}
            self._measurement.add(self._looked_s - looked_s, self._n_since, done)
            self._judge_if_enough()
        self._since.clear()
        self._n_since = 0

    def _judge_if_enough(self) -> None:
        done = self._measurement
        if done.seconds < _LEAST_S or done.n_stretches < _LEAST_STRETCHES * self.n:
            return
        if done.epochs >= self.n or done.seconds >= _ENOUGH_S:
            self._measurement = _Measurement()
            self._judge(done)

    def _try(self, n: int) -> None:
        self.n, self._n_measured = n, 0
        self._each, self._each_of_half = {}, self._each
        self._measurement = _Measurement()

    def _judge(self, measurement: _Measurement) -> None:
        self._n_measured += 1
        if self._n_measured == 1:
            return
        rate = self._rate_of(measurement)
        if rate >= self._rates.get(self.n, 0.0):
            self._rates[self.n], self._each = rate, measurement.rates
        if self._rates[self.n] < _WORTH * self._rates.get(self.n // 2, 0.0):
            if self._n_measured > _MEASURED:
                self._settle(self.n // 2)
        elif self.n < self._most:
            self._try(2 * self.n)
        else:
            self._settle(self.n)

    def _rate_of(self, measurement: _Measurement) -> float:
        """Epochs a second of so many trials."""
        each = measurement.rates
        both = each.keys() & self._each_of_half.keys()
        before = sum(self._each_of_half[trial] for trial in both)
        if not before:
            return measurement.rate
        now = sum(each[trial] for trial in both)
        return 2 * self._rates[self.n // 2] * now / before

    def _settle(self, n: int) -> None:
        self.n, self._is_found = n, True
        self._found(n, self._rates)
