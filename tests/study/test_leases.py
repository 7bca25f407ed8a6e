import pytest
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from sweeper.errors import StudyError
from sweeper.study.attributes import StudyAttributes
from sweeper.study.leases import LEASE_S, RENEWAL_S, Leases
from tests.support.clock import Clock


class Machines:
    """Two machines that share a storage; their clocks are an hour apart and go at one speed."""

    def __init__(self) -> None:
        storage = InMemoryStorage()
        study_id = storage.create_new_study([StudyDirection.MAXIMIZE], "shared")
        self.attributes = StudyAttributes(storage, study_id)
        self._clocks = Clock(5000.0), Clock(1400.0)
        self.here = Leases(self.attributes, "here", self._clocks[0])
        self.there = Leases(self.attributes, "there", self._clocks[1])

    def pass_time(self, seconds: float) -> None:
        for clock in self._clocks:
            clock.now_s += seconds


def test_a_lease_that_is_renewed_never_ends_for_whoever_looks_on() -> None:
    machines = Machines()
    for _ in range(30):
        assert machines.here.renew("a")
        assert not machines.there.is_over("a")
        machines.pass_time(RENEWAL_S)


def look_on(machines: Machines, seconds: float) -> bool:
    """Look every second for so long; whether the lease was over in the end."""
    for _ in range(int(seconds)):
        is_over = machines.there.is_over("a")
        machines.pass_time(1)
    return is_over


def test_a_lease_is_over_once_it_stood_still_under_the_eyes_of_another() -> None:
    machines = Machines()
    machines.here.renew("a")
    machines.pass_time(10 * LEASE_S)
    assert not look_on(machines, 1), "nobody has looked on yet"
    assert not look_on(machines, LEASE_S)
    assert look_on(machines, 1)


def test_time_in_which_nobody_could_look_does_not_count() -> None:
    """A database that was away for longer than a lease must not make everybody suspect."""
    machines = Machines()
    machines.here.renew("a")
    assert not look_on(machines, LEASE_S - 1)
    machines.pass_time(2 * LEASE_S)
    assert not look_on(machines, LEASE_S)
    assert look_on(machines, 2)


def test_a_renewal_at_the_last_moment_counts() -> None:
    machines = Machines()
    machines.here.renew("a")
    assert not look_on(machines, LEASE_S)
    assert machines.here.renew("a")
    assert not look_on(machines, LEASE_S)
    assert look_on(machines, 2)


def test_who_comes_back_after_a_takeover_learns_it_and_cannot_return() -> None:
    machines = Machines()
    machines.here.renew("a")
    machines.there.declare_over("a")
    assert not machines.here.renew("a"), "it is told at once"
    machines.pass_time(RENEWAL_S)
    assert not machines.here.renew("a")
    assert machines.there.is_over("a")


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


def test_an_agent_is_told_to_stop_from_wherever_the_storage_is_seen() -> None:
    machines = Machines()
    machines.here.renew("a")
    assert not machines.here.is_told_to_stop
    machines.there.tell_to_stop("a")
    machines.here.renew("a")
    assert machines.here.is_told_to_stop
    machines.there.renew("b")
    assert not machines.there.is_told_to_stop


def test_leases_are_held_until_they_end_or_are_taken_over() -> None:
    machines = Machines()
    machines.here.renew("a")
    machines.there.renew("b")
    machines.here.tell_to_stop("b")
    a, b = machines.here.held()
    assert (a.agent, a.is_here, a.is_told_to_stop) == ("a", True, False)
    assert (b.agent, b.is_here, b.is_told_to_stop) == ("b", False, True)
    assert [lease.is_here for lease in machines.there.held()] == [False, True]
    machines.here.end("a")
    machines.here.declare_over("b")
    assert machines.there.held() == []


@pytest.mark.parametrize("agent", ["/etc/passwd", "../../precious", "..", "", "a/b", "a\x1b[2J"])
def test_the_lease_of_an_agent_whose_name_could_be_a_path_is_refused(agent: str) -> None:
    machines = Machines()
    machines.here.renew(agent)
    with pytest.raises(
        StudyError, match="^the lease of .* is not what sweeper writes there: agent: "
    ):
        machines.there.held()


@pytest.mark.parametrize("record", ["a", [], ["here", 1], ["here", "x", 0.0], {"a": 1}])
def test_a_lease_that_is_none_of_ours_is_refused(record: object) -> None:
    machines = Machines()
    machines.here.renew("a")
    machines.attributes.put("sweeper.lease.a", record)
    for look in (machines.there.held, lambda: machines.there.is_here("a")):
        with pytest.raises(StudyError, match="^the lease of 'a' in the study's storage is not"):
            look()
