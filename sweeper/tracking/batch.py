"""A trial's events in MLflow's words.

What a person who compares runs finds in the table: ``best_<metric>`` of every optimised metric,
which is the trial's value in Optuna, and ``best_epoch``; the plain metrics show their last epoch.
Both are sent each time the best changes, so that running trials can be sorted too. Params are what
the study searches, so that what is compared differs; and as MLflow keeps a param for ever, whereas
a folder of data may have moved when a trial goes on. All other settings are one tag.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from sweeper.config.names import OWN_METRICS, is_own_metric
from sweeper.config.render import render_setting
from sweeper.events import Ended, Event, Interrupted, Started, TagsSet
from sweeper.text import redacted
from sweeper.timing import harness_share
from sweeper.tracking.mirrored_study import MirroredStudy
from sweeper.trial import DataInfo, EpochMetrics, Objective, TrialState

# What MLflow's stores accept (mlflow.utils.validation).
_MAX_PARAM_CHARS = 6000
_MAX_TAG_CHARS = 8000
_MAX_PARAMS, _MAX_TAGS, _MAX_METRICS = 100, 100, 800

#: Of a run to which the trial's own code logs, too: the highest epoch that it was sent, which
#: points of that code, by whatever names and steps, cannot tell.
LAST_EPOCH = "sweeper.last_epoch"

RUN_STATUS: Mapping[TrialState, str] = {
    TrialState.WAITING: "SCHEDULED",
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "FINISHED",  # the page marks KILLED as it marks FAILED, by a red cross
    TrialState.DIVERGED: "KILLED",
    TrialState.FAILED: "FAILED",
}

#: What older code wrote instead; runs that have it are left as they are.
_OLDER_STATUS: Mapping[TrialState, str] = {TrialState.PRUNED: "KILLED"}


def tells_state(status: str, state: TrialState) -> bool:
    """Whether a run with that status is one of a trial in that state."""
    return status in (RUN_STATUS[state], _OLDER_STATUS.get(state))


@dataclass
class Batch:
    """What a stretch of a trial's log changes in its MLflow run.

    Attributes:
        study: Whose trial it is of.
        last_epoch: Highest epoch that MLflow has. An epoch that a resumed trial reports once more
            is left out, as Optuna does.
        best: The epoch that counts so far.
        shown: What the runs table shows as the best.
        state: The run's new state; None when it stays as it is, RUNNING in a new run.
        ended_s: When the trial ended for good, seconds since the Unix epoch.
    """

    study: MirroredStudy
    last_epoch: int
    best: EpochMetrics | None
    shown: Mapping[str, float]
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    dataset: DatasetInput | None = None
    state: TrialState | None = None
    ended_s: float = 0.0

    def add(self, event: Event) -> None:
        """Take in the next event of the log."""
        if isinstance(event, EpochMetrics):
            self._add_epoch(event)
        elif isinstance(event, Started):
            self._add_start(event)
        elif isinstance(event, TagsSet):
            self.tags |= event.tags
        elif isinstance(event, Interrupted):
            self._enter(TrialState.WAITING)
            self.tags |= _own_tags(event.tags)
            self.tags["sweeper.interrupted"] = event.cause
        elif isinstance(event, Ended):
            self._add_end(event)

    def chunks(self) -> Iterator[tuple[list[Param], list[RunTag], list[Metric]]]:
        """Params, tags and metrics in portions that one request may carry."""
        params = [Param(key, value) for key, value in self.params.items()]
        tags = run_tags(self.tags)
        metrics = self.metrics
        while params or tags or metrics:
            yield params[:_MAX_PARAMS], tags[:_MAX_TAGS], metrics[:_MAX_METRICS]
            params, tags = params[_MAX_PARAMS:], tags[_MAX_TAGS:]
            metrics = metrics[_MAX_METRICS:]

    @property
    def is_ended(self) -> bool:
        """Whether the trial ended for good."""
        return self.ended_s > 0

    def _enter(self, state: TrialState) -> None:
        self.state = state
        self.tags["sweeper.state"] = state

    def _add_start(self, event: Started) -> None:
        self.tags |= _own_tags(event.tags)
        self.tags["sweeper.state"] = TrialState.RUNNING
        self._tell_last_epoch()
        if event.resumed:
            self.tags["sweeper.resumed"] = str(event.resumed)
            self._enter(TrialState.RUNNING)
        # Also of a resumed trial: its first process may have died before it could say them.
        self.params = param_texts(event, self.study.searched)
        constants = {
            key: redacted(value) if isinstance(value, str) else value  # before it stands in quotes
            for key, value in event.params.items()
            if key not in self.study.searched
        }
        self.tags["sweeper.constants"] = render_setting(constants)
        if event.data:
            self.tags["sweeper.data"] = event.data.name
            self.tags["sweeper.data_fingerprint"] = event.data.fingerprint
            self.tags["sweeper.task"] = event.data.task
            if event.data.naive is not None:
                self.tags["sweeper.naive"] = f"{event.data.naive:.6g}"
            self.dataset = _dataset_input(event.data)

    def _add_epoch(self, event: EpochMetrics) -> None:
        objective = self.study.objective
        if not objective.faults(event) and objective.is_better(event, self.best):
            self.best = event
        if event.epoch > self.last_epoch:
            self.last_epoch = event.epoch
            self._tell_last_epoch()
            self.metrics += epoch_metrics(event, objective)
        if event.epoch == self.last_epoch:
            self._show_best(event.time_s)

    def _tell_last_epoch(self) -> None:
        if self.study.shares_runs:
            self.tags[LAST_EPOCH] = str(self.last_epoch)

    def _add_end(self, event: Ended) -> None:
        outcome, self.ended_s = event.outcome, event.time_s
        self._enter(outcome.state)
        self.tags |= _own_tags(event.tags)
        if outcome.cause:
            self.tags["sweeper.cause"] = outcome.cause
        if outcome.kind:
            self.tags["sweeper.failure"] = outcome.kind
            self.tags["sweeper.retries"] = str(outcome.retries)
        if outcome.details:
            self.tags["sweeper.details"] = outcome.details[-_MAX_TAG_CHARS:]
        # A repeated epoch may have measured something else; the outcome is what Optuna has.
        self.best = outcome.best or self.best
        self._show_best(event.time_s)
        self.metrics += _points(time_values(outcome.seconds), self.last_epoch, event.time_s)

    def _show_best(self, time_s: float) -> None:
        values = best_values(self.best, self.study.objective)
        if values != self.shown:
            self.shown = values
            self.metrics += _points(values, self.last_epoch, time_s)


def _own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {f"sweeper.{key}": value for key, value in tags.items()}


def param_texts(event: Started, searched: Collection[str]) -> dict[str, str]:
    """What was drawn for a trial in MLflow's form: without secrets, cut to what it accepts."""
    return {
        key: redacted(str(value))[:_MAX_PARAM_CHARS]
        for key, value in event.params.items()
        if key in searched
    }


def run_tags(tags: Mapping[str, str]) -> list[RunTag]:
    """MLflow's form of ``tags``: without secrets, cut to the length it accepts."""
    return [RunTag(key, redacted(value)[:_MAX_TAG_CHARS]) for key, value in tags.items()]


def epoch_metrics(
    measured: EpochMetrics, objective: Objective, model_id: str | None = None
) -> list[Metric]:
    """All that one epoch measured, at the time it was measured.

    Older code let user code report what sweeper writes itself; of that name MLflow has ours alone.
    """
    return [
        Metric(
            name, float(value), milliseconds(measured.time_s), measured.epoch, model_id=model_id
        )
        for name, value in measured.values.items()
        if not is_own_metric(name, objective.metrics)
    ]


def time_values(seconds: Mapping[str, float]) -> dict[str, float]:
    """Where a trial's time went, as metrics by name; nothing if nobody knows."""
    share = harness_share(seconds)
    if share is None:
        return {}
    values = {f"{OWN_METRICS}{entry}_seconds": spent for entry, spent in seconds.items()}
    return {**values, f"{OWN_METRICS}harness_share": share}


def best_values(best: EpochMetrics | None, objective: Objective) -> dict[str, float]:
    """What the runs table shows of the epoch that counts; nothing before there is one."""
    if best is None:
        return {}
    values = {f"best_{name}": float(best.values[name]) for name in objective.metrics}
    return {**values, "best_epoch": float(best.epoch)}


def best_metrics(best: EpochMetrics, objective: Objective, step: int) -> list[Metric]:
    """The values of the epoch that counts, as known at ``step``."""
    return _points(best_values(best, objective), step, best.time_s)


def _points(values: Mapping[str, float], step: int, time_s: float) -> list[Metric]:
    return [Metric(key, value, milliseconds(time_s), step) for key, value in values.items()]


def milliseconds(time_s: float) -> int:
    """MLflow's unit of time."""
    return round(time_s * 1000)


def _dataset_input(data: DataInfo) -> DatasetInput:
    profile = {
        "input_shape": data.input_shape,
        "task": data.task,
        "n_outputs": data.n_outputs,
        "n_train": data.n_train,
        "n_validation": data.n_validation,
    }
    dataset = Dataset(
        name=data.name,
        digest=data.fingerprint,
        source_type="sweeper",
        source=json.dumps({"data.name": data.name}),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
