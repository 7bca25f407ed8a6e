"""What MLflow has of a trial already, held against the trial's event log."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlflow import MlflowClient
from mlflow.entities import Metric

from sweeper.config.names import best_names, is_own_metric
from sweeper.events import Ended, Event, Started
from sweeper.tracking.batch import LAST_EPOCH, epoch_metrics
from sweeper.trial import EpochMetrics, Objective, TrialState

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.DIVERGED, TrialState.FAILED)


@dataclass(frozen=True)
class RunState:
    """A trial's run as MLflow has it.

    Attributes:
        run_id: Of the run.
        is_deleted: Somebody threw the run away.
        tags: By name.
        params: By name.
        points: How often each (metric, epoch) is there, of what epochs measured.
        shown: What the runs table shows as the best.
    """

    run_id: str
    is_deleted: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    points: Counter[tuple[str, int]] = field(default_factory=Counter)
    shown: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_shared(self) -> bool:
        """Whether the trial's own code logs to the run, too; then a point may be of either."""
        return LAST_EPOCH in self.tags

    @property
    def last_epoch(self) -> int:
        """Highest epoch that was sent, 0 before the first."""
        if self.is_shared:
            return int(self.tags[LAST_EPOCH])
        return max((epoch for _, epoch in self.points), default=0)

    def is_later_than(self, events: Sequence[Event]) -> bool:
        """Whether a process did more of the trial than these events know of.

        Each process that takes a trial on counts ``resumed`` up, on whatever machine; and one may
        have brought it to an end that stands in the log of another machine alone.
        """
        known = max((event.resumed for event in events if isinstance(event, Started)), default=0)
        told = int(self.tags.get("sweeper.resumed", 0))
        has_ended = self.tags.get("sweeper.state") in _ENDED
        return told > known or (
            told == known and has_ended and not any(isinstance(event, Ended) for event in events)
        )

    def lacks(self, events: Iterable[Event], objective: Objective) -> list[Metric]:
        """The points of these events that MLflow does not have, each once."""
        missing: dict[tuple[str, int], Metric] = {}
        for event in events:
            if isinstance(event, EpochMetrics):
                for point in epoch_metrics(event, objective):
                    if (key := (point.key, point.step)) not in self.points:
                        missing.setdefault(key, point)
        return list(missing.values())

    def doubled(self) -> list[tuple[str, int]]:
        """Every (metric, epoch) that was sent more than once."""
        return [] if self.is_shared else [point for point, n in self.points.items() if n > 1]


def read_run_state(
    client: MlflowClient, run_id: str, objective: Objective, events: Iterable[Event]
) -> RunState:
    """Ask MLflow for a run and, with one request a metric, for its points.

    Args:
        client: Of the store.
        run_id: Of the run.
        objective: Of the study.
        events: Of the trial. What its own code logs beside them is left out.
    """
    run, shown = client.get_run(run_id), best_names(objective.metrics)
    names = {name for name in run.data.metrics if not is_own_metric(name, objective.metrics)}
    if LAST_EPOCH in run.data.tags:
        names &= {n for event in events if isinstance(event, EpochMetrics) for n in event.values}
    points = Counter(
        (point.key, point.step)
        for name in sorted(names)
        for point in client.get_metric_history(run_id, name)
    )
    return RunState(
        run_id,
        is_deleted=run.info.lifecycle_stage == "deleted",
        tags=run.data.tags,
        params=run.data.params,
        points=points,
        shown={name: run.data.metrics[name] for name in shown & run.data.metrics.keys()},
    )
