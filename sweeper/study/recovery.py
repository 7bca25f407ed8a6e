"""What becomes of a trial whose worker is gone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from sweeper.events import (
    Ended,
    Event,
    EventWriter,
    Interrupted,
    Started,
    booked_seconds,
    read_events,
)
from sweeper.study.ownership import find_orphans
from sweeper.study.storage.backend import store_errors
from sweeper.study.study import SweepStudy
from sweeper.study.tell import end_trial, judge_failure
from sweeper.trial import EpochMetrics, FailureKind, Outcome

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
    for hold in find_orphans(study):
        with hold.taken_over() as trial:
            if trial is None:
                continue
            if not study.leases.is_here(hold.owner.agent):
                study.leases.declare_over(hold.owner.agent)
            is_blamed = (
                death is not None
                and death.worker == hold.owner.worker
                and death.number in (None, hold.number)
            )
            _reclaim(study, trial, cause, death if is_blamed else None)
            n_taken += 1
    return n_taken


def _reclaim(study: SweepStudy, trial: FrozenTrial, cause: str, death: Death | None) -> None:
    path = study.paths.events(trial.number)
    logged, _ = read_events(path)
    if logged and isinstance(logged[-1], Ended):
        end_trial(study, trial.number, logged[-1].outcome)
        return
    outcome = _judge(study, trial, logged, death) if death else None
    with EventWriter(path) as events:
        if outcome is None:
            if logged:
                events.append(Interrupted(time.time(), death.cause if death else cause))
            study.put_back(trial.number)
            return
        if not logged:
            events.append(Started(time.time(), 0, trial.params, {}, None, None))
        events.append(Ended(time.time(), outcome))
        end_trial(study, trial.number, outcome)


def _judge(
    study: SweepStudy, trial: FrozenTrial, logged: Sequence[Event], death: Death
) -> Outcome | None:
    return judge_failure(
        study,
        trial,
        [event for event in logged if isinstance(event, EpochMetrics)],
        kind=death.kind,
        cause=death.cause,
        details=death.details,
        seconds=booked_seconds(logged),
    )
