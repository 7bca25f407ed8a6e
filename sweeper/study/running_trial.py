"""A claimed trial in the hands of one process: drawn, started, reported, settled at its end."""

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

from optuna.trial import FrozenTrial

from sweeper.config.settings import ModelConfig, Scalar, TrialConfig
from sweeper.errors import StoreError, TrialDiverged, TrialInterrupted, TrialPruned
from sweeper.events import Ended, EventWriter, Interrupted, Logged, Started, booked_seconds
from sweeper.study.attributes import Attr
from sweeper.study.drawing import draw_trials
from sweeper.study.logged import LoggedSoFar
from sweeper.study.ownership import Ownership
from sweeper.study.reports import Report, TurnReports, record, tell
from sweeper.study.samplers.draw import Drawn
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.transfer import TrialTransfer
from sweeper.study.study import SweepStudy
from sweeper.study.tell import end_trial, put_back
from sweeper.timing import Entry, TimeLedger, add_seconds
from sweeper.trial import DataInfo, EpochMetrics, Outcome, TrialState

log = logging.getLogger("sweeper")

#: So often a trial says how far its epoch is.
_TELL_EVERY_S = 0.5


class RunningTrial:
    """A trial that this process works on. Every fact goes to the event log, then to Optuna.

    Should the trial have been taken over, as this process seemed dead, nothing more is written:
    the next step raises :class:`~sweeper.errors.TrialLost`.

    Args:
        study: The study.
        trial: As it was claimed.
        is_stopping: Whether this process must stop.
        ledger: Where this process books its time.
        transfer: Brings the trial's files to the object store, if the study has one.
        tell_epochs: Told now and then, with its number, how many epochs are done, parts included.

    Attributes:
        study: The study.
        number: Of the trial within its study.
        history: What it reported so far, also in earlier processes.
        drawn_by: What drew its settings; empty if that is not known, or it has not been drawn.
        is_stopping: Whether this process must stop.
        ledger: Where this process books its time.
        asking_s: Seconds that the sampler took, without what was waited for others.
        n_epochs: Epochs that it reports at most; None if nobody has said it.
        n_done: Epochs that are done, parts included.
        reports: Where its worker records the epochs of several trials; None if it has no other.
        last_tags: Of its run in MLflow, without the prefix ``sweeper.``: what is only known when
            this process is done with it.
    """

    def __init__(
        self,
        study: SweepStudy,
        trial: FrozenTrial,
        *,
        is_stopping: Callable[[], bool],
        ledger: TimeLedger,
        transfer: TrialTransfer | None = None,
        tell_epochs: Callable[[int, float], None] = lambda number, epochs: None,
    ) -> None:
        self.study = study
        self.number = trial.number
        self.history: list[EpochMetrics] = []
        self.drawn_by = ""
        self.asking_s = 0.0
        self.n_epochs: int | None = None
        self.last_tags: Mapping[str, str] = {}
        self._logged = LoggedSoFar()
        self.is_stopping = is_stopping
        self.ledger = ledger
        self._transfer = transfer
        self._tell_epochs = tell_epochs
        self.reports: TurnReports | None = None
        self._announced: Report | None = None
        self._told_s = -math.inf
        self._trial = trial
        self._ownership = Ownership.of(study, trial)
        self._trial_id = study.trial_id(trial.number)
        self._is_started = False
        self._handle = study.handle()
        self._config: TrialConfig | None = None
        self._events = EventWriter(study.paths.events(self.number))
        self._seconds_before = booked_seconds(self._events.before)
        for event in self._events.before:
            if isinstance(event, EpochMetrics):
                self.history.append(event)
            self._logged.add(event)
        self.n_done = float(len(self.history))
        tell(study, [self._new_report(metrics) for metrics in self.history])

    @property
    def resumed(self) -> int:
        """How often the trial went on after losing its process, 0 at first."""
        return int(self._trial.user_attrs.get(Attr.RESUMED, 0))

    def draw(self) -> TrialConfig:
        """What the trial runs with: drawn now, unless it was with others."""
        if self._config is None:
            with self.ledger.booked(Entry.CLAIM):
                [drawn], asking_s = draw_trials(self.study, [self._trial])
            return self._take_drawn(drawn, asking_s)
        return self._config

    def _take_drawn(self, drawn: Drawn, asking_s: float) -> TrialConfig:
        self._config = drawn.config
        self.asking_s = asking_s
        self.drawn_by = drawn.drawn_by
        self.n_epochs = drawn.config.n_epochs
        return drawn.config

    @store_errors()
    def start(
        self,
        data: DataInfo | None,
        model: ModelConfig | None,
        *,
        params: Mapping[str, Scalar],
        tags: Mapping[str, str],
    ) -> None:
        """Log that the trial runs in this process from now on.

        Args:
            data: What it trains on; None if only the user's own function knows.
            model: What it builds, with the arguments that the file leaves out; None as for data.
            params: That belong to the run beside those of the study file, by dotted name.
            tags: Of the trial's run in MLflow.
        """
        with self.ledger.booked(Entry.CLAIM):
            self.require_ownership()
            drawn = self._config.params if self._config else {}
            self._events.append(
                Started(time.time(), self.resumed, {**drawn, **params}, tags, data, model)
            )
            self._is_started = True

    @property
    def tags(self) -> Mapping[str, str]:
        """Of its run, as its own code has set them, in earlier processes too."""
        return self._logged.tags

    def show_progress(self, epoch: int, share: float) -> None:
        """Say how far an epoch is; most calls do nothing, as it is called after every batch."""
        now_s, self.n_done = time.monotonic(), epoch - 1 + share
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            self._tell_epochs(self.number, self.n_done)

    def plan_epochs(self, n_epochs: int) -> None:
        """Note that the trial will report so many epochs; after the last it ends as complete.

        Raises:
            TrialInterrupted: If the storage fails.
        """
        self.n_epochs = n_epochs
        with self._reporting():
            self.study.pruner.plan(self.number, n_epochs)

    def announce(self, metrics: EpochMetrics) -> bool:
        """As :meth:`~sweeper.training.reporter.Reporter.announce`."""
        if self.reports is None or self._is_known(metrics):
            return False
        self._announced = self._new_report(metrics)
        self.reports.add(self._announced)
        return True

    def report(self, metrics: EpochMetrics) -> None:
        """Record one epoch, unless the worker has; one that is known already is left as it is.

        After the last epoch nothing is left to prune or to interrupt. An epoch that is not finite
        ends the trial again, should its process have died before it could settle that.

        Raises:
            TrialDiverged: If a value is not finite that must be.
            TrialPruned: If the pruner says stop.
            TrialInterrupted: If this process must stop, or the epoch cannot be recorded.
            TrialLost: If the trial was taken over.
        """
        with self._reporting():
            self._report(metrics)
        if self._transfer and metrics.epoch != self.n_epochs:
            with self.ledger.booked(Entry.CHECKPOINT):
                self._transfer.offer(self.number, self._ownership.owner.claim)

    def log(self, event: Logged) -> None:
        """Record what user code logs; a file or a tag that is known as it is, is left.

        Raises:
            TrialInterrupted: If it cannot be recorded.
            TrialLost: If the trial was taken over.
        """
        if self._logged.is_new(event):
            with self._reporting():
                self._ownership.require()
                self._events.append(event)
            self._logged.add(event)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            with self.ledger.booked(Entry.REPORT), store_errors():
                yield
        except StoreError as exc:
            # A signal, as an ``except Exception`` in user code must not hold it back.
            raise TrialInterrupted(str(exc)) from exc

    def _report(self, metrics: EpochMetrics) -> None:
        before = None if self._is_known(metrics) else self._record(metrics)
        for name in self.study.spec.objective.faults(metrics):
            raise TrialDiverged(f"{name} is {metrics.values[name]} after epoch {metrics.epoch}")
        if before is None or metrics.epoch == self.n_epochs:
            return
        if self._is_pruned(before, metrics):
            raise TrialPruned(f"by {self.study.spec.pruner.name} after epoch {metrics.epoch}")
        if self.is_stopping():
            raise TrialInterrupted(f"stopped after epoch {metrics.epoch}")

    def _is_known(self, metrics: EpochMetrics) -> bool:
        return bool(self.history) and metrics.epoch <= self.history[-1].epoch

    def _record(self, metrics: EpochMetrics) -> FrozenTrial | None:
        """Write an epoch to the log and to the storage; the trial as it was before."""
        report, self._announced = self._announced, None
        if report is None:
            report = self._new_report(metrics)
            record(self.study, [report])
        if report.is_logged:
            self.history.append(metrics)
        if report.error is not None:
            raise report.error
        return report.before

    def _new_report(self, metrics: EpochMetrics) -> Report:
        return Report(
            self._ownership, self._trial_id, self._events, metrics, value=self._untold(metrics)
        )

    def _untold(self, metrics: EpochMetrics) -> float | None:
        """What Optuna is to be told of an epoch; None if it knows it, or takes one value alone."""
        [metric, *others] = self.study.spec.objective.metrics
        if others or metrics.epoch in self._trial.intermediate_values:
            return None
        return metrics.values.get(metric)

    def _is_pruned(self, before: FrozenTrial, metrics: EpochMetrics) -> bool:
        """Ask the pruner about the trial as it was before this epoch, and the epoch."""
        if len(self.study.spec.objective.metrics) > 1:
            return False
        trial = copy.copy(before)  # what the storage would say now, without asking it again
        value = metrics.values[self.study.spec.objective.metrics[0]]
        trial.intermediate_values = {**before.intermediate_values, metrics.epoch: value}
        return self.study.pruner.is_over(self._handle, trial)

    @store_errors()
    def require_ownership(self) -> None:
        """Make sure that no other process has taken the trial over.

        Raises:
            TrialLost: If one has.
            StoreError: If the storage does not tell.
        """
        self._ownership.require()

    def take_seconds(self) -> dict[str, float]:
        """Where the trial's time went up to now, that of earlier processes included."""
        self._seconds_before = add_seconds(self._seconds_before, self.ledger.take())
        return dict(self._seconds_before)

    def end(self, outcome: Outcome) -> None:
        """Write that the trial ended so; see :mod:`sweeper.study.conclude` for who decides it.

        Raises:
            StoreError: If disk or storage fail: then it stays as it is.
            TrialLost: If it was taken over.
        """
        if not self._is_started:
            self.start(None, None, params={}, tags={})
        with self._settling():
            self._events.append(Ended(time.time(), outcome, self.last_tags))
            end_trial(self.study, self.number, outcome)
        if outcome.state == TrialState.FAILED:
            self.study.queue.top_up()

    def put_back(self, cause: str) -> None:
        """Let the trial wait for another process, and say why; raises as :meth:`end`."""
        if self._is_started:
            with self._settling():
                seconds = self.take_seconds()
                self._events.append(Interrupted(time.time(), cause, seconds, self.last_tags))
            if self._transfer:  # while nobody else can claim it, and without holding its lock
                self._transfer.deliver(self.number, self._ownership.owner.claim)
        with self._settling():
            put_back(self.study, self.number)

    @contextmanager
    def _settling(self) -> Iterator[None]:
        with self.ledger.booked(Entry.REPORT), store_errors(), self._ownership.settling():
            yield

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()


def draw_together(trials: Sequence[RunningTrial]) -> None:
    """Draw what several trials run with, in one visit, unless one of them cannot be drawn.

    Then each is drawn by itself when its work begins, and that one fails.

    Args:
        trials: Of one study, claimed by this process.

    Raises:
        StoreError, TrialLost: As :func:`~sweeper.study.drawing.draw_trials`.
    """
    try:
        drawn, asking_s = draw_trials(trials[0].study, [trial._trial for trial in trials])
    except StoreError:
        raise
    except Exception as exc:
        log.info("%d trials are drawn one by one: %s", len(trials), exc)
        return
    for trial, each in zip(trials, drawn, strict=True):
        trial._take_drawn(each, asking_s)
