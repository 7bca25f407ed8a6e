"""What the trials of a study are doing, read from their event logs as these grow."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sweeper.events import Ended, Event, Interrupted, Started, read_events
from sweeper.paths import RunPaths
from sweeper.trial import EpochMetrics, Objective, TrialState


@dataclass(frozen=True)
class TrialRow:
    """One trial, for people.

    Attributes:
        architecture: Of its model; empty when a training function brings its own.
        epoch: Epochs done.
        n_epochs: Epochs planned; 0 when only the training function knows.
        best: The epoch that counts so far.
        begun_s: When a process last took it on, seconds since the Unix epoch.
        ended_s: When it ended or was interrupted; None while it runs.
        cause: Why it ended, unless it is complete.
        details: Last lines of a traceback.
    """

    number: int
    state: TrialState = TrialState.RUNNING
    architecture: str = ""
    epoch: int = 0
    n_epochs: int = 0
    best: EpochMetrics | None = None
    begun_s: float = 0.0
    ended_s: float | None = None
    cause: str = ""
    details: str = ""

    def after(self, event: Event, objective: Objective) -> "TrialRow":
        """The row once the event has happened."""
        if isinstance(event, Started):
            return replace(
                self,
                state=TrialState.RUNNING,
                architecture=str(event.params.get("model.architecture", "")).rpartition(":")[2],
                n_epochs=int(event.params.get("train.epochs") or 0),
                begun_s=event.time_s,
                ended_s=None,
                cause="",
            )
        if isinstance(event, EpochMetrics):
            better = objective.metrics[0] in event.values and objective.is_better(event, self.best)
            return replace(self, epoch=event.epoch, best=event if better else self.best)
        if isinstance(event, Interrupted):
            return replace(self, state=TrialState.WAITING, ended_s=event.time_s, cause=event.cause)
        assert isinstance(event, Ended)
        return replace(
            self,
            state=event.outcome.state,
            ended_s=event.time_s,
            best=event.outcome.best,
            cause=event.outcome.cause,
            details=event.outcome.details,
        )


class Board:
    """The rows of all trials that did something since the board was set up.

    Args:
        paths: Files of the study.
        objective: Decides which epoch of a trial counts.
        settled: Numbers of trials that had ended before; their logs are not read.
    """

    def __init__(self, paths: RunPaths, objective: Objective, settled: Iterable[int] = ()) -> None:
        self.rows: dict[int, TrialRow] = {}
        self._paths = paths
        self._objective = objective
        self._offsets: dict[int, int] = {}
        self._settled = set(settled)

    def poll(self) -> list[TrialRow]:
        """Read what is new; the rows of the trials that ended since the last call."""
        ended = []
        for number in sorted(self._paths.trial_numbers() - self._settled):
            events, offset = read_events(self._paths.events(number), self._offsets.get(number, 0))
            if not events:
                continue
            self._offsets[number] = offset
            row = self.rows.get(number, TrialRow(number))
            for event in events:
                row = row.after(event, self._objective)
            self.rows[number] = row
            if row.state not in (TrialState.RUNNING, TrialState.WAITING):
                self._settled.add(number)
                ended.append(row)
        return ended

    def running(self) -> list[TrialRow]:
        """Rows of the trials that run now, by number."""
        return [row for _, row in sorted(self.rows.items()) if row.state == TrialState.RUNNING]
