from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from sweeper.lease import LEASE_S, RENEWAL_S, Leases


class Clock:
    """A machine's clock, set by hand."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


class Machines:
    """Two machines that share a storage; their clocks are an hour apart and go at one speed."""

    def __init__(self) -> None:
        storage = InMemoryStorage()
        study_id = storage.create_new_study([StudyDirection.MAXIMIZE], "shared")
        self._clocks = Clock(5000.0), Clock(1400.0)
        self.here = Leases(storage, study_id, "here", self._clocks[0])
        self.there = Leases(storage, study_id, "there", self._clocks[1])

    def pass_time(self, seconds: float) -> None:
        for clock in self._clocks:
            clock.seconds += seconds


def test_a_lease_that_is_renewed_never_ends_for_whoever_looks_on() -> None:
    machines = Machines()
    for _ in range(30):
        assert machines.here.renew("a")
        assert not machines.there.is_over("a")
        machines.pass_time(RENEWAL_S)


def test_a_lease_is_over_once_it_stood_still_under_the_eyes_of_another() -> None:
    machines = Machines()
    machines.here.renew("a")
    machines.pass_time(10 * LEASE_S)
    assert not machines.there.is_over("a"), "nobody has looked on yet"
    machines.pass_time(LEASE_S - 1)
    assert not machines.there.is_over("a")
    machines.pass_time(2)
    assert machines.there.is_over("a")


def test_a_renewal_at_the_last_moment_counts() -> None:
    machines = Machines()
    machines.here.renew("a")
    assert not machines.there.is_over("a")
    machines.pass_time(LEASE_S - 1)
    assert machines.here.renew("a")
    machines.pass_time(2)
    assert not machines.there.is_over("a")
    machines.pass_time(LEASE_S - 1)
    assert not machines.there.is_over("a")
    machines.pass_time(2)
    assert machines.there.is_over("a")


def test_who_comes_back_after_a_takeover_learns_it_and_cannot_return() -> None:
    machines = Machines()
    machines.here.renew("a")
    machines.there.declare_over("a")
    machines.pass_time(RENEWAL_S)
    assert not machines.here.renew("a")
    machines.pass_time(RENEWAL_S)
    assert not machines.here.renew("a")
    assert machines.there.is_over("a")


def test_a_lease_is_written_only_when_it_is_time_to() -> None:
    machines = Machines()
    machines.here.renew("a")
    machines.there.declare_over("a")
    machines.pass_time(RENEWAL_S - 1)
    assert machines.here.renew("a"), "looked again too early"


def test_a_lease_that_was_given_up_or_never_held_is_over_at_once() -> None:
    machines = Machines()
    machines.here.renew("a")
    machines.here.end("a")
    assert machines.there.is_over("a")
    assert machines.there.is_over("unknown")


def test_an_agent_is_here_where_its_locks_can_be_seen() -> None:
    machines = Machines()
    machines.here.renew("a")
    assert machines.here.is_here("a")
    assert not machines.there.is_here("a")
    assert not machines.here.is_here("unknown")
