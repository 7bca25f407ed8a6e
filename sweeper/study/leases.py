"""Who lives, without a server: each agent counts up a number in the study's storage.

Machines' clocks need not agree, and nobody acts on their times: an observer holds a lease to be
over when the number has stood still for :data:`LEASE_S` of the observer's own time. Then it says
so in the storage before it takes anything over, and the holder, should it come back, reads that
and stops.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from sweeper.config.names import Id
from sweeper.durable import Step
from sweeper.study.attributes import StudyAttributes, below, read_attribute

#: Seconds between two renewals, and without one until others take over.
RENEWAL_S = 5.0
LEASE_S = 30.0

#: An observer that did not look for so long saw nothing, and begins anew.
_GAP_S = 15.0

_LEASE = "sweeper.lease."
_OVER = "sweeper.lease_over."
_STOP = "sweeper.stop."
_ENDED = -1


def _now() -> float:
    """Seconds that count on while the machine sleeps, where the system can tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Lease(NamedTuple):
    """What the storage says of an agent that has neither ended nor been fenced off.

    Attributes:
        agent: Who holds it.
        renewed_s: When it was renewed last, in seconds since the Unix epoch by the agent's clock.
        is_here: This process can see the agent's own locks, which tell more than its lease.
        is_told_to_stop: Somebody has asked the agent to drain and end.
    """

    agent: str
    renewed_s: float
    is_here: bool
    is_told_to_stop: bool


class _Record(NamedTuple):
    """A lease as it stands in the storage, with the name from its key."""

    agent: Id
    locality: str
    counter: int
    renewed_s: float


class _Observed(NamedTuple):
    """A lease as it was seen: its number, since when, and when that was looked at last."""

    counter: int
    since_s: float
    looked_s: float


class Leases:
    """The leases of one study, as one process sees them.

    Args:
        attributes: Of the study.
        locality: Where this process's own locks count, see :func:`~sweeper.locks.locality`.
        now: Seconds of a clock that never goes back.

    Attributes:
        is_told_to_stop: Somebody has asked the agent that renewed its lease here last to drain
            and end, as of that renewal.
    """

    def __init__(
        self, attributes: StudyAttributes, locality: str, now: Callable[[], float] = _now
    ) -> None:
        self._attributes = attributes
        self._locality = locality
        self._now = now
        self.is_told_to_stop = False
        self._seen: dict[str, _Observed] = {}
        self._counter = 0
        self._renewed_s = -math.inf

    def renew(self, agent: str) -> bool:
        """Show that this agent lives, if it is time to; whether nobody has taken over from it."""
        attributes = self._attributes.read()
        self.is_told_to_stop = _STOP + agent in attributes
        if _OVER + agent in attributes:
            return False
        now = self._now()
        if now - self._renewed_s >= RENEWAL_S:
            self._counter += 1
            self._write(agent, self._counter)
            self._renewed_s = now
        return True

    def end(self, agent: str) -> None:
        """Give the lease up; what the agent left behind may be taken over at once."""
        self._write(agent, _ENDED)

    def tell_to_stop(self, agent: str) -> None:
        """Ask an agent, wherever it is, to drain and end; it sees that at its next renewal."""
        self._attributes.put(_STOP + agent, True, Step.LEASE)

    def held(self) -> list[Lease]:
        """Those of agents that are at work, as far as the storage knows."""
        attributes = self._attributes.read()
        return [
            Lease(
                found.agent,
                found.renewed_s,
                found.locality == self._locality,
                _STOP + found.agent in attributes,
            )
            for found in (_read(*item) for item in below(_LEASE, attributes))
            if found.counter != _ENDED and _OVER + found.agent not in attributes
        ]

    def is_here(self, agent: str) -> bool:
        """Whether this process can see the agent's own locks, which tell more than its lease."""
        record = self._attributes.read().get(_LEASE + agent)
        return record is not None and _read(agent, record).locality == self._locality

    def is_over(self, agent: str) -> bool:
        """Whether the agent ended, or has not renewed its lease while this process looked on."""
        attributes = self._attributes.read()
        record = attributes.get(_LEASE + agent)
        counter = _ENDED if record is None else _read(agent, record).counter
        if counter == _ENDED or _OVER + agent in attributes:
            return True
        now = self._now()
        before = self._seen.get(agent)
        since_s = now
        if before and before.counter == counter and now - before.looked_s <= _GAP_S:
            since_s = before.since_s
        self._seen[agent] = _Observed(counter, since_s, now)
        return now - since_s > LEASE_S

    def declare_over(self, agent: str) -> None:
        """Fence the agent off, so that it stops when it comes back."""
        self._attributes.put(_OVER + agent, True, Step.LEASE)

    def _write(self, agent: str, counter: int) -> None:
        record = [self._locality, counter, time.time()]  # the time is for people alone
        self._attributes.put(_LEASE + agent, record, Step.LEASE)


def _read(agent: str, record: Any) -> _Record:
    values = record if isinstance(record, list) else [record]
    return read_attribute(_Record, [agent, *values], f"the lease of {agent!r}")
