"""Trials whose worker is gone: found, then ended or put back."""

import time
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from sweeper.events import (
    Ended,
    EventWriter,
    Interrupted,
    Started,
    booked_seconds,
    read_events,
)
from sweeper.study.conclude import Attempt
from sweeper.study.ownership import Ownership
from sweeper.study.storage.backend import store_errors
from sweeper.study.study import SweepStudy
from sweeper.study.tell import end_trial, put_back
from sweeper.trial import EpochMetrics, FailureKind

#: Of a worker that nobody saw die.
SILENT = "its process ended without a word"


@dataclass(frozen=True)
class Death:
    """The end of a worker that may be its trial's doing.

    Attributes:
        worker: Its name.
        cause: How it died, for people.
        kind: What that stands for.
        details: The last lines that it wrote.
        number: Of the trial that it died of; None for whichever it had.
    """

    worker: str
    cause: str
    kind: FailureKind
    details: str
    number: int | None = None

    def is_of(self, orphan: Ownership) -> bool:
        """Whether that trial may have brought it about."""
        return self.worker == orphan.owner.worker and self.number in (None, orphan.number)


def find_orphans(study: SweepStudy) -> list[Ownership]:
    """Of RUNNING trials whose owners are gone."""
    # First all of them: a storage may change a trial in place that it handed out.
    owned = [Ownership.of(study, trial) for trial in study.cache.look().running]
    return [ownership for ownership in owned if ownership.is_orphaned()]


@store_errors()
def reclaim_orphans(study: SweepStudy, cause: str, death: Death | None = None) -> int:
    """Put back the trials whose worker is gone; fail the one that it died of, if the rule says so.

    A trial whose end stands in its event log is ended as it says there: that is what MLflow and
    the user have seen.

    Args:
        study: The study.
        cause: What is known of the end of those workers, for the event log.
        death: Of a worker that died by itself; the others were stopped, or their machine was.

    Returns:
        How many trials had lost their worker.
    """
    n_taken = 0
    for orphan in find_orphans(study):
        with orphan.taken_over() as trial:
            if trial is None:
                continue
            if not study.leases.is_here(orphan.owner.agent):
                study.leases.declare_over(orphan.owner.agent)
            _reclaim(study, trial, cause, death if death and death.is_of(orphan) else None)
            n_taken += 1
    return n_taken


def _reclaim(study: SweepStudy, trial: FrozenTrial, cause: str, death: Death | None) -> None:
    path = study.paths.events(trial.number)
    logged, _ = read_events(path)
    if logged and isinstance(logged[-1], Ended):
        end_trial(study, trial.number, logged[-1].outcome)
        return
    outcome = None
    if death:
        history = [event for event in logged if isinstance(event, EpochMetrics)]
        attempt = Attempt(study, trial.number, history, booked_seconds(logged))
        outcome = attempt.judge_failure(death.kind, death.cause, death.details)
    with EventWriter(path) as events:
        if outcome is None:
            if logged:
                events.append(Interrupted(time.time(), death.cause if death else cause))
            put_back(study, trial.number)
            return
        if not logged:
            events.append(Started(time.time(), 0, trial.params, {}, None, None))
        events.append(Ended(time.time(), outcome))
        end_trial(study, trial.number, outcome)
