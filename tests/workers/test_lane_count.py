"""How many trials at once a worker comes to, by speeds that are made up."""

from collections.abc import Callable, Mapping

from sweeper.workers.lane_count import LaneCount
from sweeper.workers.lane_plan import LanePlan
from tests.support.clock import Clock


class Measured:
    """A count, and what it was told to have found.

    Args:
        speed: Trials at once -> epochs a second of all of them together.
        most: Of the plan.
    """

    def __init__(self, speed: Callable[[int], float], most: int) -> None:
        self.found: list[tuple[int, dict[int, float]]] = []
        self.clock = Clock()
        self._speed = speed
        self.count = LaneCount(LanePlan(first=1, most=most), self._keep, self.clock)

    def _keep(self, n: int, rates: Mapping[int, float]) -> None:
        self.found.append((n, dict(rates)))

    def train(self, seconds: float, n_at_work: int | None = None) -> None:
        """Time passes in tenths of a second, in each of which all trials do a stretch."""
        for _ in range(round(10 * seconds)):
            n = self.count.n if n_at_work is None else n_at_work
            self.clock.now_s += 0.1
            for trial in range(n):
                self.count.add(trial, self._speed(n) / n / 10)
            self.count.look(range(n))


def test_the_number_doubles_to_the_most_while_it_is_worth_it() -> None:
    measured = Measured(lambda n: 2.0 * n, most=8)
    measured.train(2.1)
    assert measured.count.n == 2  # a measurement that does not count, and one that does
    measured.train(6.5)
    assert measured.count.n == 8
    [(n, rates)] = measured.found
    assert n == 8
    assert {n: round(rate, 6) for n, rate in rates.items()} == {1: 2, 2: 4, 4: 8, 8: 16}


def test_it_goes_back_by_half_once_a_second_measurement_was_no_better() -> None:
    measured = Measured(lambda n: 10 * min(n, 4) + 0.1 * n, most=64)
    measured.train(9)
    assert measured.count.n == 8  # once is not enough
    measured.train(1)
    assert measured.count.n == 4
    [(n, rates)] = measured.found
    assert (n, list(rates)) == (4, [1, 2, 4, 8])
    measured.train(60)
    assert measured.count.n == 4
    assert len(measured.found) == 1


def test_one_slow_measurement_decides_nothing() -> None:
    slow_until = 4.0
    measured = Measured(
        lambda n: 10 * n if n < 2 or measured.clock.now_s > slow_until else 5, most=4
    )
    measured.train(12)
    assert measured.count.n == 4


def test_nothing_is_learned_while_others_are_at_work_than_there_should_be() -> None:
    measured = Measured(lambda n: n, most=4)
    measured.train(60, n_at_work=2)
    assert measured.count.n == 1
    assert measured.found == []


def test_trials_that_end_sooner_than_a_number_is_measured_are_measured_together() -> None:
    measured = Measured(lambda n: 2 * n, most=4)
    for _ in range(20):
        measured.train(0.4)
        measured.train(0.1, n_at_work=measured.count.n - 1)  # the next one is on its way
    [(n, rates)] = measured.found
    assert n == 4
    assert {n: round(rate, 6) for n, rate in rates.items()} == {1: 2, 2: 4, 4: 8}


def test_what_is_measured_has_batches_that_are_trained_on_and_evaluated() -> None:
    clock, found = Clock(), list[dict[int, float]]()
    count = LaneCount(LanePlan(first=1, most=2), lambda n, rates: found.append({**rates}), clock)
    n_seconds = 0
    while not found:
        clock.now_s += 1.0
        part = 0.2 if n_seconds % 3 else 0.6  # of an epoch, which takes three seconds
        for trial in range(count.n):
            for _ in range(10):
                count.add(trial, part / 10)
        count.look(range(count.n))
        n_seconds += 1
    assert {n: round(rate, 6) for n, rate in found[0].items()} == {1: 0.333333, 2: 0.666667}


def test_numbers_are_compared_by_the_trials_that_were_measured_with_both() -> None:
    clock, found = Clock(), list[tuple[int, dict[int, float]]]()
    plan = LanePlan(first=1, most=2)
    count = LaneCount(plan, lambda n, rates: found.append((n, dict(rates))), clock)
    epochs_per_s = {0: 0.5, 1: 20.0}  # the second one is small, and would seem to gain much
    while not found:
        clock.now_s += 0.1
        for trial in range(count.n):
            count.add(trial, epochs_per_s[trial] / count.n / 10)
        count.look(range(count.n))
    [(n, rates)] = found
    assert n == 1
    assert {n: round(rate, 6) for n, rate in rates.items()} == {1: 0.5, 2: 0.5}


def test_a_number_is_measured_by_enough_stretches_however_long_they_take() -> None:
    clock = Clock()
    count = LaneCount(LanePlan(first=1, most=2), lambda n, rates: None, clock)
    for _ in range(15):
        clock.now_s += 10
        count.add(0, 0.1)
        count.look([0])
    assert count.n == 1
    count.add(0, 0.1)
    count.look([0])
    assert count.n == 2


def test_a_number_that_is_given_stays_and_is_not_measured() -> None:
    found: list[int] = []
    count = LaneCount(LanePlan(first=4, most=4), lambda n, rates: found.append(n), Clock())
    for _ in range(100):
        count.add(0, 1.0)
        count.look(range(4))
    assert (count.n, found) == (4, [])


def test_lack_of_room_ends_the_search() -> None:
    measured = Measured(lambda n: n, most=16)
    measured.train(5)
    measured.count.lower(2)
    measured.train(60)
    assert measured.count.n == 2
    assert measured.found == []
