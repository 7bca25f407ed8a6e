"""Runs to which the trials' own code logs, beside what the mirror sends."""

import logging
from collections.abc import Collection, Sequence

from sweeper.events import Ended, Event, Interrupted, Started
from sweeper.mlflow_run import MlflowRun
from sweeper.text import redacted
from sweeper.tracking.batch import epoch_metrics
from sweeper.tracking.mirrored_study import MirroredStudy
from sweeper.tracking.parent import Parent
from sweeper.trial import EpochMetrics

_logger = logging.getLogger("sweeper")


class SharedRuns:
    """Those of one study.

    Args:
        parent: The study's run.
        study: The study.
    """

    def __init__(self, parent: Parent, study: MirroredStudy) -> None:
        self._parent = parent
        self._study = study
        self._compared: set[str] = set()

    def leave(self, number: int, run_id: str, events: Sequence[Event]) -> None:
        """Let the worker that waits for a trial's run find it, if the trial is at work.

        Args:
            number: Of the trial.
            run_id: Of its run.
            events: All of the trial.

        Raises:
            StoreError: If the disk does not take it.
        """
        starts = [event for event in events if isinstance(event, Started)]
        if starts and not isinstance(events[-1], Interrupted | Ended):
            MlflowRun(
                run_id=run_id,
                experiment_id=self._parent.experiment_id,
                store=redacted(self._study.uri),
                resumed=starts[-1].resumed,
            ).save(self._study.paths.mlflow_run(number))

    def compare(self, run_id: str, events: Sequence[Event]) -> None:
        """Say once of each metric that the code of a trial logs it, and reports it, too.

        Args:
            run_id: Of a trial that has ended.
            events: All of that trial. If another process began it, another machine may have sent
                points, and nothing is said.
        """
        if any(event.resumed for event in events if isinstance(event, Started)):
            return
        points = [
            point
            for event in events
            if isinstance(event, EpochMetrics)
            for point in epoch_metrics(event, self._study.objective)
        ]
        ours = {(point.key, point.step, point.timestamp) for point in points}
        names = {point.key for point in points} - self._compared
        self._compared |= names
        if twofold := [name for name in sorted(names) if self._has_others(run_id, name, ours)]:
            _logger.warning(
                "%s: the trials' own code logs %s to MLflow and reports it, too; both are in one "
                "curve there, and what is reported is so by epoch: give one another name",
                self._study.paths.study,
                ", ".join(twofold),
            )

    def _has_others(self, run_id: str, name: str, ours: Collection[tuple[str, int, int]]) -> bool:
        points = self._parent.client.get_metric_history(run_id, name)
        return any((point.key, point.step, point.timestamp) not in ours for point in points)
