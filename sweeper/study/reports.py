"""Epochs on their way to event logs and storage: of one trial, or of several in one visit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from sweeper.durable import Step, durable
from sweeper.errors import TrialLost
from sweeper.events import EventWriter
from sweeper.study.ownership import Ownership, running_now
from sweeper.study.storage.together import together
from sweeper.study.study import SweepStudy
from sweeper.trial import EpochMetrics


@dataclass
class Report:
    """An epoch that is to be recorded.

    Attributes:
        ownership: Of its trial.
        trial_id: The storage's own.
        events: The trial's log.
        metrics: What was measured.
        value: What the storage is told of it; None for nothing.
        before: The trial as it was then, once the epoch is recorded.
        is_logged: Whether it stands in the log.
        error: What kept it from being recorded, for its trial to raise.
    """

    ownership: Ownership
    trial_id: int
    events: EventWriter
    metrics: EpochMetrics
    value: float | None
    before: FrozenTrial | None = None
    is_logged: bool = False
    error: BaseException | None = None


def record(study: SweepStudy, reports: Sequence[Report]) -> None:
    """Write epochs of different trials to their logs, then to the storage; raises nothing."""
    with _held_against(reports):
        running = running_now(study, len(reports))
        for report in reports:
            with _held_against([report]):
                report.before = report.ownership.require(running.get(report.ownership.number))
                report.events.append(report.metrics)
                report.is_logged = True
    logged = [each for each in reports if each.is_logged]
    with _held_against(logged):
        try:
            tell(study, logged)
        except UpdateFinishedTrialError:  # one was taken over, and ended, a moment ago
            for report in logged:
                with _held_against([report]):
                    report.ownership.require()
                    tell(study, [report])


def tell(study: SweepStudy, reports: Sequence[Report]) -> None:
    """Write to the storage what it is to know of epochs that stand in their logs.

    Raises:
        UpdateFinishedTrialError: If one of the trials has ended; another's epoch may be told.
    """
    told = [(each, each.value) for each in reports if each.value is not None]
    if not told:
        return
    with durable(Step.REPORT), together(study.storage):
        for report, value in told:
            study.storage.set_trial_intermediate_value(
                report.trial_id, report.metrics.epoch, value
            )


@contextmanager
def _held_against(reports: Sequence[Report]) -> Iterator[None]:
    """Keep what is raised within a ``with`` block for the trials of these reports."""
    try:
        yield
    except (Exception, TrialLost) as exc:
        for report in reports:
            report.error = exc


class TurnReports:
    """The epochs that several trials of a worker report in one turn.

    Args:
        study: Of the trials.
    """

    def __init__(self, study: SweepStudy) -> None:
        self._study = study
        self._due: list[Report] = []

    @property
    def numbers(self) -> set[int]:
        """Of the trials that have reported since :meth:`record`."""
        return {report.ownership.number for report in self._due}

    def add(self, report: Report) -> None:
        """Have an epoch recorded with those of other trials."""
        self._due.append(report)

    def record(self) -> None:
        """Record them all; raises nothing, as each trial raises what was in its way."""
        due, self._due = self._due, []
        record(self._study, due)
