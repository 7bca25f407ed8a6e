"""A claimed trial in the hands of one process, and the one judgement of how it ended."""

import math
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.config import ModelConfig, Scalar, TrainConfig, TrialConfig
from sweeper.errors import TrialDiverged, TrialInterrupted, TrialPruned
from sweeper.events import Ended, EventWriter, Interrupted, Started, read_events
from sweeper.sampling import draw_config, to_distribution
from sweeper.study import MOST_DEATHS, Attr, SweepStudy
from sweeper.trial import DataInfo, EpochMetrics, Outcome, TrialState

_OPTUNA_STATE = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.DIVERGED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}
#: Of a traceback; enough to see the user's own frames above the library's.
_DETAIL_LINES = 20


class Claim:
    """A trial that this process works on. Every fact goes to the event log, then to Optuna.

    Attributes:
        number: Of the trial within its study.
        config: What it runs with.
        history: What it reported so far, also in earlier processes.
    """

    def __init__(
        self, study: SweepStudy, trial: FrozenTrial, *, is_stopping: Callable[[], bool]
    ) -> None:
        self.number = trial.number
        self.history: list[EpochMetrics] = []
        self._study = study
        self._trial = trial
        self._trial_id = study.trial_id(trial.number)
        self._is_stopping = is_stopping
        self._is_started = False
        self._n_epochs: int | None = None
        self._handle = study.handle()
        self._params: Mapping[str, Scalar] = {}
        path = study.paths.events(self.number)
        self._events = EventWriter(path)
        for event in read_events(path)[0]:
            if isinstance(event, EpochMetrics):
                self._note(event)

    def draw(self) -> TrialConfig:
        """Draw what the trial runs with, and write it to the storage."""
        spec = self._study.spec
        config, searched = draw_config(
            self._handle, self._trial, spec, sampler_name=self._study.sampler()[0]
        )
        ranges = spec.ranges()
        for name, value in searched.items():
            if name not in self._trial.params:
                distribution = to_distribution(ranges[name])
                self._study.storage.set_trial_param(
                    self._trial_id, name, distribution.to_internal_repr(value), distribution
                )
        self._params = config.params
        if isinstance(config.train, TrainConfig):
            self._n_epochs = config.train.epochs
        return config

    def start(
        self,
        data: DataInfo | None,
        model: ModelConfig | None,
        *,
        params: Mapping[str, Scalar],
        tags: Mapping[str, str],
    ) -> None:
        """Log that the trial runs in this process from now on."""
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
            TrialInterrupted: If this process must stop.
        """
        is_known = bool(self.history) and metrics.epoch <= self.history[-1].epoch
        if not is_known:
            self._events.append(metrics)
            self._note(metrics)
        for name, value in metrics.values.items():
            if not math.isfinite(value):
                raise TrialDiverged(f"{name} is {value} after epoch {metrics.epoch}")
        if is_known or metrics.epoch == self._n_epochs:
            return
        if self._is_pruned():
            raise TrialPruned(f"by {self._study.spec.pruner.name} after epoch {metrics.epoch}")
        if self._is_stopping():
            raise TrialInterrupted(f"stopped after epoch {metrics.epoch}")

    def _note(self, metrics: EpochMetrics) -> None:
        self.history.append(metrics)
        objective = self._study.spec.objective
        value = metrics.values.get(objective.metrics[0])
        known = self._trial.intermediate_values
        if len(objective.metrics) == 1 and value is not None and metrics.epoch not in known:
            self._study.storage.set_trial_intermediate_value(self._trial_id, metrics.epoch, value)

    def _is_pruned(self) -> bool:
        if len(self._study.spec.objective.metrics) > 1:
            return False
        return bool(
            self._study.pruner.prune(self._handle, self._study.storage.get_trial(self._trial_id))
        )

    def conclude(self, body: Callable[[], None]) -> TrialState:
        """Run the trial's work and settle how it ended; the state it is in afterwards.

        This is the one place that decides it. An exception ends the trial, never the process;
        ``sys.exit`` and ``KeyboardInterrupt`` in a user's code are some, as workers ignore SIGINT.
        """
        try:
            body()
        except TrialInterrupted as signal:
            self._put_back(str(signal))
            return TrialState.WAITING
        except TrialPruned as signal:
            outcome = self._outcome(TrialState.PRUNED, str(signal))
        except TrialDiverged as signal:
            outcome = self._outcome(TrialState.DIVERGED, str(signal))
        except (Exception, SystemExit, KeyboardInterrupt) as exc:
            lines = traceback.format_exc().splitlines()[-_DETAIL_LINES:]
            cause = f"{type(exc).__name__}: {exc}".splitlines()[0].rstrip(": ")
            outcome = self._outcome(TrialState.FAILED, cause, "\n".join(lines))
        else:
            outcome = self._outcome(TrialState.COMPLETE)
            if outcome.best is None:  # user code held back the signal; Optuna needs a value
                outcome = self._outcome(TrialState.DIVERGED, "no finite epoch was reported")
        self._end(outcome)
        return outcome.state

    def _outcome(self, state: TrialState, cause: str = "", details: str = "") -> Outcome:
        return Outcome(state, _best(self._study, self.history), cause, details)

    def _end(self, outcome: Outcome) -> None:
        if not self._is_started:
            self.start(None, None, params={}, tags={})
        self._events.append(Ended(time.time(), outcome))
        end_trial(self._study, self.number, outcome)
        if outcome.state == TrialState.FAILED:
            self._study.top_up()

    def _put_back(self, cause: str) -> None:
        if self._is_started:
            self._events.append(Interrupted(time.time(), cause))
        self._study.put_back(self.number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._events.close()


def _best(study: SweepStudy, history: Iterable[EpochMetrics]) -> EpochMetrics | None:
    finite = [m for m in history if all(map(math.isfinite, m.values.values()))]
    return study.spec.objective.best(finite)


def end_trial(study: SweepStudy, number: int, outcome: Outcome) -> None:
    """Write the end of a trial to the storage."""
    trial_id = study.trial_id(number)
    storage = study.storage
    if outcome.state != TrialState.COMPLETE:
        storage.set_trial_user_attr(trial_id, Attr.STATE, outcome.state)
        storage.set_trial_user_attr(trial_id, Attr.CAUSE, outcome.cause)
    values = None
    if outcome.best is not None and outcome.state in (TrialState.COMPLETE, TrialState.PRUNED):
        values = [outcome.best.values[metric] for metric in study.spec.objective.metrics]
    storage.set_trial_state_values(trial_id, _OPTUNA_STATE[outcome.state], values)
    study.paths.checkpoint(number).unlink(missing_ok=True)


def reclaim_orphans(study: SweepStudy, cause: str, *, is_fault: bool = False) -> int:
    """Put back the trials whose worker is gone; fail those that keep killing theirs.

    A trial whose end stands in its event log is ended as it says there: that is what MLflow and
    the user have seen.

    Args:
        study: The study.
        cause: What is known of the death, for the event log.
        is_fault: The worker died by itself, which may be the trial's doing; otherwise somebody
            stopped it, or the machine did.

    Returns:
        How many trials had lost their worker.
    """
    with study.lock.held():
        orphans = study.orphans()
        for trial in orphans:
            _reclaim(study, trial, cause, is_fault=is_fault)
    study.top_up()
    return len(orphans)


def _reclaim(study: SweepStudy, trial: FrozenTrial, cause: str, *, is_fault: bool) -> None:
    path = study.paths.events(trial.number)
    logged, _ = read_events(path)
    if logged and isinstance(logged[-1], Ended):
        end_trial(study, trial.number, logged[-1].outcome)
        return
    history = [event for event in logged if isinstance(event, EpochMetrics)]
    deaths = _count_death(study, trial, len(history)) if is_fault else 0
    with EventWriter(path) as events:
        if deaths <= MOST_DEATHS:
            if logged:
                events.append(Interrupted(time.time(), cause))
            study.put_back(trial.number)
            return
        if not logged:
            events.append(Started(time.time(), deaths - 1, trial.params, {}, None, None))
        cause = f"its worker died {deaths} times: {cause}"
        outcome = Outcome(TrialState.FAILED, _best(study, history), cause)
        events.append(Ended(time.time(), outcome))
        end_trial(study, trial.number, outcome)


def _count_death(study: SweepStudy, trial: FrozenTrial, n_epochs: int) -> int:
    """Deaths of this trial's workers since it last got an epoch further, this one included."""
    before, at_epoch = trial.user_attrs.get(Attr.DEATHS, (0, 0))
    deaths = before + 1 if at_epoch == n_epochs else 1
    study.storage.set_trial_user_attr(
        study.trial_id(trial.number), Attr.DEATHS, [deaths, n_epochs]
    )
    return deaths
