"""What the mirror needs to know of a study, and how much of it has been sent."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sweeper.errors import EventLogError, RequestRefusedError
from sweeper.events import Ended, Event, read_events
from sweeper.paths import RunPaths
from sweeper.trial import EpochMetrics, Objective

LogModels = Literal["none", "best", "completed"]


@dataclass
class Sent:
    """How much has been sent."""

    n_events: int = 0
    n_trials: int = 0
    n_models: int = 0


@dataclass(frozen=True)
class MirroredStudy:
    """What the mirror needs to know of a study.

    Attributes:
        paths: Its files.
        uri: As :func:`~sweeper.tracking.address.tracking_uri` gives it.
        objective: Decides which epoch of a trial counts.
        searched: Names of the study's ranges, in the order of the file.
        log_models: Of which complete trials the model is logged.
        references: The user's own code that may be called to build a model. What else an event
            log names is not: others may have written it.
        shares_runs: The trials' own code logs to their runs, too.
    """

    paths: RunPaths
    uri: str
    objective: Objective
    searched: Sequence[str]
    log_models: LogModels
    references: Collection[str] = ()
    shares_runs: bool = False

    def read_log(self, number: int, offset: int = 0) -> tuple[list[Event], int]:
        """A trial's events from a byte on, and the offset after the last whole one.

        Raises:
            RequestRefusedError: If the log cannot be read, or is of another study.
        """
        path = self.paths.events(number)
        try:
            events, offset = read_events(path, offset)
        except EventLogError as exc:
            raise RequestRefusedError(f"{exc}. MLflow lacks the rest of this trial") from exc
        for epoch in _epochs(events):
            if lacks := set(self.objective.metrics) - epoch.values.keys():
                raise RequestRefusedError(
                    f"{path}: epoch {epoch.epoch} has no {', '.join(sorted(lacks))}, which the "
                    "study optimises; move the trial's folder away if it is of another study"
                )
        return events, offset


def _epochs(events: Iterable[Event]) -> Iterator[EpochMetrics]:
    """All that events tell of, the one that counts of a trial's end among them."""
    for event in events:
        if isinstance(event, EpochMetrics):
            yield event
        elif isinstance(event, Ended) and event.outcome.best is not None:
            yield event.outcome.best
