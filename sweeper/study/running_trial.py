"""A claimed trial in the hands of one process, and the one judgement of how it ended."""

import copy
import errno
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Self

from optuna.trial import FrozenTrial

from sweeper.config.settings import ModelConfig, Scalar, TrainConfig, TrialConfig
from sweeper.durable import Step, durable
from sweeper.errors import StoreError, TrialDiverged, TrialInterrupted, TrialPruned
from sweeper.events import (
    Ended,
    EventWriter,
    Interrupted,
    Started,
    booked_seconds,
    read_events,
)
from sweeper.study.failures import failure_kind
from sweeper.study.ownership import Ownership
from sweeper.study.samplers.optuna import draw_config, to_distribution
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.transfer import TrialTransfer
from sweeper.study.study import Attr, SweepStudy
from sweeper.study.tell import best_epoch, end_trial, judge_failure
from sweeper.text import redacted
from sweeper.timing import Entry, TimeLedger, add_seconds
from sweeper.trial import DataInfo, EpochMetrics, Outcome, TrialState

#: Of a traceback; enough to see the user's own frames above the library's.
_DETAIL_LINES = 20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class RunningTrial:
    """A trial that this process works on. Every fact goes to the event log, then to Optuna.

    Should the trial have been taken over, as this process seemed dead, nothing more is written:
    the next step raises :class:`~sweeper.errors.TrialLost`.

    Args:
        study: The study.
        trial: As it was claimed.
        is_stopping: Whether this process must stop.
        ledger: Where this process books its time.
        transfer: Carries the trial's files to the object store, if the study has one.

    Attributes:
        number: Of the trial within its study.
        history: What it reported so far, also in earlier processes.
        is_stopping: Whether this process must stop.
        ledger: Where this process books its time.
    """

    def __init__(
        self,
        study: SweepStudy,
        trial: FrozenTrial,
        *,
        is_stopping: Callable[[], bool],
        ledger: TimeLedger,
        transfer: TrialTransfer | None = None,
    ) -> None:
        self.number = trial.number
        self.history: list[EpochMetrics] = []
        self.is_stopping = is_stopping
        self.ledger = ledger
        self._study = study
        self._transfer = transfer
        self._trial = trial
        self._hold = Ownership.of(study, trial)
        self._trial_id = study.trial_id(trial.number)
        self._is_started = False
        self._n_epochs: int | None = None
        self._handle = study.handle()
        self._params: Mapping[str, Scalar] = {}
        path = study.paths.events(self.number)
        self._events = EventWriter(path)
        logged, _ = read_events(path)
        self._seconds_before = booked_seconds(logged)
        for event in logged:
            if isinstance(event, EpochMetrics):
                self._note(event)

    @store_errors()
    def draw(self) -> TrialConfig:
        """Draw what the trial runs with, and write it to the storage."""
        with self.ledger.booked(Entry.CLAIM):
            return self._draw()

    def _draw(self) -> TrialConfig:
        spec = self._study.spec
        sight = self._study.sight()
        config, searched = draw_config(
            self._study.handle(sight),
            self._trial,
            spec,
            sampler_name=sight.sampler,
            is_tried=partial(self._study.history.is_tried, but=self.number),
        )
        self.require_ownership()
        ranges = spec.ranges()
        for name, value in searched.items():
            if name not in self._trial.params:
                distribution = to_distribution(ranges[name])
                with durable(Step.DRAW):
                    self._study.storage.set_trial_param(
                        self._trial_id, name, distribution.to_internal_repr(value), distribution
                    )
        self._params = config.params
        if isinstance(config.train, TrainConfig):
            self._n_epochs = config.train.epochs
        return config

    @store_errors()
    def start(
        self,
        data: DataInfo | None,
        model: ModelConfig | None,
        *,
        params: Mapping[str, Scalar],
        tags: Mapping[str, str],
    ) -> None:
        """Log that the trial runs in this process from now on."""
        with self.ledger.booked(Entry.CLAIM):
            self.require_ownership()
            resumed = self._trial.user_attrs.get(Attr.RESUMED, 0)
            self._events.append(
                Started(time.time(), resumed, {**self._params, **params}, tags, data, model)
            )
            self._is_started = True

    def report(self, metrics: EpochMetrics) -> None:
        """Record one epoch; an epoch that is known already is left as it is.

        After the last epoch nothing is left to prune or to interrupt. An epoch that is not finite
        ends the trial again, should its process have died before it could settle that.

        Raises:
            TrialDiverged: If a value is not finite.
            TrialPruned: If the pruner says stop.
            TrialInterrupted: If this process must stop, or the epoch cannot be recorded.
            TrialLost: If the trial was taken over.
        """
        try:
            with self.ledger.booked(Entry.REPORT):
                self._report(metrics)
        except StoreError as exc:
            # A signal, as an ``except Exception`` in user code must not hold it back.
            raise TrialInterrupted(str(exc)) from exc
        if self._transfer and metrics.epoch != self._n_epochs:
            with self.ledger.booked(Entry.CHECKPOINT):
                self._transfer.offer(self.number, self._hold.owner.claim)

    @store_errors()
    def _report(self, metrics: EpochMetrics) -> None:
        is_known = bool(self.history) and metrics.epoch <= self.history[-1].epoch
        before = self._trial if is_known else self._held()
        if not is_known:
            self._events.append(metrics)
            self._note(metrics)
        for name, value in metrics.values.items():
            if not math.isfinite(value):
                raise TrialDiverged(f"{name} is {value} after epoch {metrics.epoch}")
        if is_known or metrics.epoch == self._n_epochs:
            return
        if self._is_pruned(before, metrics):
            raise TrialPruned(f"by {self._study.spec.pruner.name} after epoch {metrics.epoch}")
        if self.is_stopping():
            raise TrialInterrupted(f"stopped after epoch {metrics.epoch}")

    def _note(self, metrics: EpochMetrics) -> None:
        self.history.append(metrics)
        objective = self._study.spec.objective
        value = metrics.values.get(objective.metrics[0])
        known = self._trial.intermediate_values
        if len(objective.metrics) == 1 and value is not None and metrics.epoch not in known:
            with durable(Step.REPORT):
                self._study.storage.set_trial_intermediate_value(
                    self._trial_id, metrics.epoch, value
                )

    def _is_pruned(self, before: FrozenTrial, metrics: EpochMetrics) -> bool:
        """Ask the pruner about the trial as it was before this epoch, and the epoch."""
        if len(self._study.spec.objective.metrics) > 1:
            return False
        trial = copy.copy(before)  # what the storage would say now, without asking it again
        value = metrics.values[self._study.spec.objective.metrics[0]]
        trial.intermediate_values = {**before.intermediate_values, metrics.epoch: value}
        return bool(self._study.pruner.prune(self._handle, trial))

    def require_ownership(self) -> None:
        """Make sure that no other process has taken the trial over.

        Raises:
            TrialLost: If one has.
            StoreError: If the storage does not tell.
        """
        self._held()

    @store_errors()
    def _held(self) -> FrozenTrial:
        """The trial as the storage has it now; raises as :meth:`require_ownership`."""
        return self._hold.require()

    def conclude(self, body: Callable[[], None]) -> TrialState:
        """Run the trial's work and settle how it ended; the state it is in afterwards.

        This is the one place that decides it. An exception ends the trial, never the process;
        ``sys.exit`` and ``KeyboardInterrupt`` in a user's code are some, as workers ignore SIGINT.

        Raises:
            StoreError: If disk or storage fail, which is not the trial's fault: it stays as it is.
            TrialLost: If the trial was taken over.
        """
        try:
            body()
        except TrialInterrupted as signal:
            return self._put_back(str(signal))
        except TrialPruned as signal:
            outcome = self._outcome(TrialState.PRUNED, str(signal))
        except TrialDiverged as signal:
            outcome = self._outcome(TrialState.DIVERGED, str(signal))
        except StoreError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as exc:
            return self._fail(exc)
        else:
            outcome = self._outcome(TrialState.COMPLETE)
            if outcome.best is None:  # user code held back the signal; Optuna needs a value
                outcome = self._outcome(TrialState.DIVERGED, "no finite epoch was reported")
        return self._end(outcome)

    def _fail(self, error: BaseException) -> TrialState:
        cause = redacted(f"{type(error).__name__}: {error}").splitlines()[0].rstrip(": ")
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise StoreError(f"trial {self.number}: {cause}; make room") from error
        lines = redacted(traceback.format_exc()).splitlines()[-_DETAIL_LINES:]
        outcome = judge_failure(
            self._study,
            self._trial,
            self.history,
            kind=failure_kind(error),
            cause=cause,
            details="\n".join(lines),
            seconds=self._seconds(),
        )
        if outcome is None:
            return self._put_back(f"{cause}; it is tried again with the device to itself")
        return self._end(outcome)

    def _outcome(self, state: TrialState, cause: str = "") -> Outcome:
        best = best_epoch(self._study, self.history)
        return Outcome(state, best, cause, seconds=self._seconds())

    def _seconds(self) -> dict[str, float]:
        self._seconds_before = add_seconds(self._seconds_before, self.ledger.take())
        return dict(self._seconds_before)

    def _end(self, outcome: Outcome) -> TrialState:
        if not self._is_started:
            self.start(None, None, params={}, tags={})
        with self._settling():
            self._events.append(Ended(time.time(), outcome))
            end_trial(self._study, self.number, outcome)
        if outcome.state == TrialState.FAILED:
            self._study.top_up()
        return outcome.state

    def _put_back(self, cause: str) -> TrialState:
        if self._is_started:
            with self._settling():
                self._events.append(Interrupted(time.time(), cause, self._seconds()))
            if self._transfer:  # while nobody else can claim it, and without holding its lock
                self._transfer.deliver(self.number, self._hold.owner.claim)
        with self._settling():
            self._study.put_back(self.number)
        return TrialState.WAITING

    @contextmanager
    def _settling(self) -> Iterator[None]:
        with self.ledger.booked(Entry.REPORT), store_errors(), self._hold.settling():
            yield

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._events.close()
