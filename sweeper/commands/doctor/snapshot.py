"""The study that is looked at, and who works on it meanwhile."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sweeper.config.study import StudySpec
from sweeper.errors import EventLogError
from sweeper.events import Event, read_events
from sweeper.paths import RunPaths
from sweeper.study.attributes import TrialRecord
from sweeper.study.find import FoundStudy
from sweeper.study.leases import LEASE_S, RENEWAL_S
from sweeper.study.study import SweepStudy
from sweeper.trial import TrialState

_OPEN = (TrialState.WAITING, TrialState.RUNNING)


@dataclass
class Snapshot:
    """A study and its trials at the moment when the examination began.

    Attributes:
        found: The study's file and folder.
        study: The study in its storage.
        is_sending: A command on this machine sends its events to MLflow.
        is_elsewhere: Commands on other machines work on it.
        note: Told of progress.
        trials: By number, as they were.
    """

    found: FoundStudy
    study: SweepStudy
    is_sending: bool
    is_elsewhere: bool
    note: Callable[[str], None]
    trials: dict[int, TrialRecord] = field(init=False)

    def __post_init__(self) -> None:
        self.look_again()

    @property
    def spec(self) -> StudySpec:
        """The study file."""
        return self.found.spec

    @property
    def paths(self) -> RunPaths:
        """Files of the study on this machine."""
        return self.found.paths

    def look_again(self) -> None:
        """Read the trials anew, after they have been changed."""
        self.trials = {record.number: record for record in self.study.records()}

    def state(self, number: int) -> TrialState | None:
        """How a trial stood; None if the storage does not know it."""
        return self.trials[number].state if number in self.trials else None

    def has_ended(self, number: int) -> bool:
        """Whether nobody will write into the trial's folder any more."""
        return self.state(number) not in _OPEN

    def log(self, number: int, offset: int = 0) -> list[Event]:
        """The trial's events from a byte on; none if they are elsewhere or cannot be read."""
        try:
            return read_events(self.paths.events(number), offset)[0]
        except EventLogError:
            return []  # which is a finding of its own


def are_others_at_work(
    study: SweepStudy,
    note: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Whether agents elsewhere work on the study; takes :data:`LEASE_S` where that is open."""
    agents = {record.owner.agent for record in study.records() if record.owner}
    leases = study.leases

    def others() -> set[str]:
        return {a for a in agents if not leases.is_here(a) and not leases.is_over(a)}

    if not others():
        return False
    note(f"looking for {LEASE_S:.0f} s whether commands on other machines live ...")
    watched_s = 0.0
    while (living := others()) and watched_s <= LEASE_S:
        sleep(RENEWAL_S)
        watched_s += RENEWAL_S
    return bool(living)
