"""What the trials of a study are doing, followed by their event logs as these grow."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sweeper.commands.param_columns import param_columns
from sweeper.config.settings import Scalar
from sweeper.config.study import StudySpec
from sweeper.events import Ended, Event, Interrupted, Started, read_events
from sweeper.paths import RunPaths
from sweeper.study.best import BestSoFar
from sweeper.study.trial_cache import Standing
from sweeper.timing import seconds_at_work
from sweeper.trial import EpochMetrics, Objective, TrialState

#: Rows of trials that ended, or wait again, that are kept and shown.
MOST_STOPPED = 8


@dataclass(frozen=True)
class TrialRow:
    """One trial, for people.

    Attributes:
        params: Every value that the study file gives or searches, by dotted name.
        epoch: Epochs done.
        progress: As ``epoch``, with the part that is done of the next one.
        n_epochs: Epochs planned; 0 when only the training function knows.
        best: The epoch that counts so far.
        earlier_s: Seconds in which earlier processes had it, as far as they could tell.
        begun_s: When a process last took it on or put it back, seconds since the Unix epoch.
        ended_s: When it ended or was interrupted; None while it runs.
        cause: Why it ended, unless it is complete.
    """

    number: int
    state: TrialState = TrialState.RUNNING
    params: Mapping[str, Scalar] = field(default_factory=dict)
    epoch: int = 0
    progress: float = 0.0
    n_epochs: int = 0
    best: EpochMetrics | None = None
    earlier_s: float = 0.0
    begun_s: float = 0.0
    ended_s: float | None = None
    cause: str = ""

    @property
    def counts(self) -> bool:
        """Whether it counts towards the goal."""
        return self.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.DIVERGED)

    def seconds(self, now_s: float) -> float:
        """In which processes had it, all of them together; until now while it runs."""
        return self.earlier_s + (now_s if self.ended_s is None else self.ended_s) - self.begun_s

    def after(self, event: Event, objective: Objective) -> "TrialRow":
        """The row once the event has happened."""
        if isinstance(event, Started):
            return replace(
                self,
                state=TrialState.RUNNING,
                params=event.params,
                n_epochs=int(event.params.get("train.epochs") or 0),
                begun_s=event.time_s,
                ended_s=None,
                cause="",
            )
        if isinstance(event, EpochMetrics):
            better = objective.metrics[0] in event.values and objective.is_better(event, self.best)
            best = event if better else self.best
            return replace(self, epoch=event.epoch, progress=float(event.epoch), best=best)
        if isinstance(event, Interrupted):
            return replace(
                self,
                state=TrialState.WAITING,
                earlier_s=seconds_at_work(event.seconds) or self.earlier_s,
                begun_s=event.time_s,
                ended_s=event.time_s,
                cause=event.cause,
            )
        if not isinstance(event, Ended):
            return self
        return replace(
            self,
            state=event.outcome.state,
            ended_s=event.time_s,
            best=event.outcome.best,
            cause=event.outcome.cause,
        )


@dataclass(frozen=True)
class Tally:
    """How far the study is.

    Attributes:
        n_finished: Trials that count towards the goal.
        goal: Trials to reach.
        n_running: Trials that run, on whatever machine.
        left_s: Seconds until the goal; None before the first trial ended.
        best: The best complete trial of each metric, each once.
    """

    n_finished: int
    goal: int
    n_running: int = 0
    left_s: float | None = None
    best: Sequence[TrialRow] = ()


def row_of(best: BestSoFar) -> TrialRow:
    """A complete trial of the storage; what was constant in it is not known there.

    Nor is which epoch counts: it stands as that of the last one, or as the first.
    """
    return TrialRow(
        best.number,
        TrialState.COMPLETE,
        params=best.params,
        epoch=best.n_epochs,
        best=EpochMetrics(best.n_epochs or 1, best.values, best.ended_s),
        begun_s=best.ended_s - best.seconds,
        ended_s=best.ended_s,
    )


class FollowedTrials:
    """The rows of the trials that have not ended, and of the last ones that have.

    Args:
        paths: Files of the study.
        spec: Says which epoch of a trial counts, and what varies.
        standing: Of the study now; the logs of trials that have ended are not read.

    Attributes:
        columns: Of what varies.
    """

    def __init__(self, paths: RunPaths, spec: StudySpec, standing: Standing) -> None:
        self._paths = paths
        self._objective = spec.objective
        self.columns = param_columns(list(spec.ranges()))
        self._n_trials = standing.n_trials
        self._watched = _numbers(standing)
        self._early: set[int] = set()
        self._epochs: Mapping[int, float] = {}
        self._offsets: dict[int, int] = {}
        self._rows: dict[int, TrialRow] = {}
        self._ended: deque[TrialRow] = deque(maxlen=MOST_STOPPED)

    def poll(
        self, standing: Standing, epochs: Mapping[int, float] | None = None
    ) -> list[TrialRow]:
        """Read what is new; the rows of the trials that ended since the last call, by their end.

        Args:
            standing: Of the study, from before this call: what ended in there has its log whole.
            epochs: Number of a running trial -> epochs done, with the part of the next one.
        """
        self._epochs = epochs or {}
        self._watched |= set(range(self._n_trials, standing.n_trials))
        self._n_trials = standing.n_trials
        ended = [row for number in sorted(self._watched) if (row := self._read(number))]
        ended.sort(key=lambda row: row.ended_s or 0.0)
        self._ended += ended
        self._watched = _numbers(standing)
        self._early = self._watched & ({row.number for row in ended if row.counts} | self._early)
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
        running = [row for row in self._rows.values() if row.state == TrialState.RUNNING]
        return [
            replace(row, progress=max(row.progress, self._epochs.get(row.number, 0.0)))
            for row in sorted(running, key=lambda row: row.number)
        ]

    @property
    def n_early(self) -> int:
        """Trials that count as finished, say their logs, and not yet in the storage."""
        return len(self._early)

    def stopped(self) -> list[TrialRow]:
        """Rows of trials that ended last or wait to be gone on with, the latest last."""
        waiting = [row for row in self._rows.values() if row.state == TrialState.WAITING]
        return sorted([*self._ended, *waiting], key=lambda row: row.ended_s or 0.0)


def _numbers(standing: Standing) -> set[int]:
    return {trial.number for trial in (*standing.waiting, *standing.running)}
