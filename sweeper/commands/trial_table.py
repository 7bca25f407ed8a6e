"""What the trials of a study are doing, read from their event logs as these grow."""

from collections import deque
from dataclasses import dataclass, replace

from sweeper.events import Ended, Event, Interrupted, Started, read_events
from sweeper.paths import RunPaths
from sweeper.study.trial_cache import Standing
from sweeper.trial import EpochMetrics, Objective, TrialState

#: Rows of trials that ended, or wait again, that are kept and shown.
MOST_STOPPED = 8


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


class TrialTable:
    """The rows of the trials that have not ended, and of the last ones that have.

    Args:
        paths: Files of the study.
        objective: Decides which epoch of a trial counts.
        standing: Of the study now; the logs of trials that have ended are not read.
    """

    def __init__(self, paths: RunPaths, objective: Objective, standing: Standing) -> None:
        self._paths = paths
        self._objective = objective
        self._n_trials = standing.n_trials
        self._watched = _numbers(standing)
        self._offsets: dict[int, int] = {}
        self._rows: dict[int, TrialRow] = {}
        self._ended: deque[TrialRow] = deque(maxlen=MOST_STOPPED)

    def poll(self, standing: Standing) -> list[TrialRow]:
        """Read what is new; the rows of the trials that ended since the last call.

        Args:
            standing: Of the study, from before this call: what ended in there has its log whole.
        """
        self._watched |= set(range(self._n_trials, standing.n_trials))
        self._n_trials = standing.n_trials
        ended = [row for number in sorted(self._watched) if (row := self._read(number))]
        self._ended += ended
        self._watched = _numbers(standing)
        for number in self._offsets.keys() - self._watched:
            del self._offsets[number]
            self._rows.pop(number, None)
        return ended

    def _read(self, number: int) -> TrialRow | None:
        """The row of a trial if it ended since the last call."""
        events, offset = read_events(self._paths.events(number), self._offsets.get(number, 0))
        if not events:
            return None
        self._offsets[number] = offset
        row = self._rows.pop(number, TrialRow(number))
        for event in events:
            row = row.after(event, self._objective)
        if row.state in (TrialState.RUNNING, TrialState.WAITING):
            self._rows[number] = row
            return None
        return row

    def running(self) -> list[TrialRow]:
        """Rows of the trials that run now, by number."""
        return [row for _, row in sorted(self._rows.items()) if row.state == TrialState.RUNNING]

    def stopped(self) -> list[TrialRow]:
        """Rows of trials that ended last or wait to be gone on with, the latest last."""
        waiting = [row for row in self._rows.values() if row.state == TrialState.WAITING]
        return sorted([*self._ended, *waiting], key=lambda row: row.ended_s or 0.0)


def _numbers(standing: Standing) -> set[int]:
    return {trial.number for trial in (*standing.waiting, *standing.running)}
