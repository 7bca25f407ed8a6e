"""The mirror itself: which MLflow run a trial has, and what is sent to it when."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from sweeper.errors import RequestRefusedError
from sweeper.events import Event, Started, read_events
from sweeper.paths import RunPaths
from sweeper.tracking.batch import (
    RUN_STATUS,
    Batch,
    best_metrics,
    epoch_metrics,
    milliseconds,
    render_batch,
    run_tags,
)
from sweeper.tracking.cursor import Cursor
from sweeper.tracking.parent import (
    KIND,
    PARENT,
    TRIAL,
    Parent,
    close_parent,
    find_children,
    open_parent,
    origin_tags,
)
from sweeper.tracking.store import (
    artifact_errors,
    find_or_create_experiment,
    open_client,
    tracker_errors,
)
from sweeper.trial import Objective, TrialState

LogModels = Literal["none", "best", "completed"]

_logger = logging.getLogger("sweeper")


class Mirror:
    """Sends a study's event logs to MLflow. For one thread of one process at a time.

    A pass that fails half-way is repeated by the next one, and nothing is sent that MLflow would
    keep twice. Losing the cursors, or MLflow's store, means a full resend and nothing else.

    Args:
        paths: Files of the study.
        uri: As :func:`~sweeper.tracking.store.tracking_uri` gives it.
        study: Name of the study and of the MLflow experiment.
        objective: Decides which epoch of a trial counts.
        log_models: Of which complete trials the model is logged.
        tags: Of the parent run, without the ``sweeper.`` prefix; ``git_commit`` also becomes
            MLflow's own tag, as it does among the tags of :class:`~sweeper.events.Started`.
    """

    def __init__(
        self,
        paths: RunPaths,
        *,
        uri: str,
        study: str,
        objective: Objective,
        log_models: LogModels,
        tags: Mapping[str, str],
    ) -> None:
        self._paths = paths
        self._uri = uri
        self._study = study
        self._objective = objective
        self._log_models = log_models
        self._tags = tags
        self._parent: Parent | None = None
        self._cursors: dict[int, Cursor] = {}
        self._finished: set[int] = set()
        self._known_runs: dict[int, str] | None = None

    def open(self) -> Parent:
        """Find or create the experiment and the parent run. ``ship`` and ``finish`` do it too.

        Raises:
            TrackerError: If MLflow cannot be used now. Call again later.
        """
        if self._parent is None:
            client = open_client(self._uri, self._paths)
            experiment_id = find_or_create_experiment(
                client, self._study, uri=self._uri, paths=self._paths
            )
            with tracker_errors(self._uri):
                parent = open_parent(client, experiment_id, self._study, self._tags)
                with artifact_errors(self._uri):
                    client.log_artifact(parent.run_id, str(self._paths.resolved_spec))
            self._known_runs = {} if parent.is_new else None
            self._parent = parent
        return self._parent

    def ship(self) -> int:
        """One pass over all trials with unsent events.

        Returns:
            The number of events sent.

        Raises:
            TrackerError: If MLflow cannot be used, or refused what a trial sent; the other trials
                have been sent then. A later call sends what is missing.
        """
        parent = self.open()
        n_events = 0
        refusal: RequestRefusedError | None = None
        for number in sorted(self._paths.trial_numbers() - self._finished):
            try:
                with tracker_errors(self._uri):
                    n_events += self._ship_trial(parent, number)
            except RequestRefusedError as exc:
                refusal = refusal or exc
        if refusal:
            raise refusal
        return n_events

    def finish(
        self,
        *,
        goal_reached: bool,
        best_trials: Sequence[int],
        counts: Mapping[TrialState, int],
    ) -> None:
        """Close the parent run, after a last ``ship``. A study may be finished many times.

        Args:
            goal_reached: The run ends as FINISHED; else it is SCHEDULED, to go on later.
            best_trials: Number of the best complete trial, or those of the Pareto front. With
                one alone, the parent run shows its ``best_<metric>`` too. Of a trial that another
                machine shipped, the number alone is known here.
            counts: Trials by state.

        Raises:
            TrackerError: If MLflow cannot be used now. Call again later.
        """
        parent = self.open()
        loaded = {number: self._cursor(parent, number) for number in best_trials}
        cursors = {number: cursor for number, cursor in loaded.items() if cursor.run_id}
        metrics = []
        if len(best_trials) == 1 and (best := loaded[best_trials[0]].best):
            # A summary over more complete trials is the later one, whatever its epoch.
            step = counts.get(TrialState.COMPLETE, 0)
            metrics = best_metrics(best, self._objective, step, best.time_s)
        tags = {
            "sweeper.best_trials": ", ".join(map(str, best_trials)),
            "sweeper.best_runs": ", ".join(cursor.run_id for cursor in cursors.values()),
            "sweeper.trials": ", ".join(f"{n} {state}" for state, n in counts.items() if n),
        }
        with tracker_errors(self._uri):
            if goal_reached and self._log_models == "best":
                for number, cursor in cursors.items():
                    self._log_model(parent, number, cursor)
            close_parent(parent, goal_reached=goal_reached, metrics=metrics, tags=tags)

    def _cursor(self, parent: Parent, number: int) -> Cursor:
        cursor = self._cursors.get(number)
        return cursor or Cursor.load(self._paths.shipped(number), parent.run_id)

    def _ship_trial(self, parent: Parent, number: int) -> int:
        cursor = self._cursor(parent, number)
        events: Sequence[Event] = []
        if not cursor.is_ended:
            events, offset = self._read(number, cursor)
            if events:
                cursor = replace(self._send(parent, number, cursor, events), offset=offset)
                cursor.save(self._paths.shipped(number))
        if cursor.is_ended:
            self._finished.add(number)
            self._cursors.pop(number, None)
        else:
            self._cursors[number] = cursor
        return len(events)

    def _read(self, number: int, cursor: Cursor) -> tuple[list[Event], int]:
        path = self._paths.events(number)
        try:
            events, offset = read_events(path, cursor.offset)
            if events and not cursor.run_id and not isinstance(events[0], Started):
                raise ValueError(f"the first one is {type(events[0]).__name__}, not Started")
        except (ValueError, KeyError, TypeError) as exc:
            raise RequestRefusedError(
                f"{path}: the events cannot be read: {exc}; MLflow lacks the rest of this trial. "
                "Move the trial's folder away to leave it so"
            ) from exc
        return events, offset

    def _send(
        self, parent: Parent, number: int, cursor: Cursor, events: Sequence[Event]
    ) -> Cursor:
        """Bring the trial's run to where ``events`` end; the cursor, its offset still the old."""
        client = parent.client
        if not cursor.run_id:
            cursor = replace(cursor, run_id=self._find_or_create_run(parent, number, events[0]))
        batch = render_batch(
            events, self._objective, last_epoch=cursor.last_epoch, best=cursor.best
        )
        for params, tags, metrics in batch.chunks():
            client.log_batch(cursor.run_id, params=params, tags=tags, metrics=metrics)
        if batch.dataset:
            client.log_inputs(cursor.run_id, datasets=[batch.dataset])
        cursor = replace(cursor, last_epoch=batch.last_epoch, best=batch.best)
        if batch.state is TrialState.COMPLETE and self._log_models == "completed":
            self._log_model(parent, number, cursor)
        return replace(cursor, is_ended=_set_status(parent, cursor.run_id, batch))

    def _find_or_create_run(self, parent: Parent, number: int, started: Event) -> str:
        """The run of a trial without a cursor: new, or cut off before the cursor was written.

        A resumed trial may have been begun by another machine since the runs were last listed.
        """
        assert isinstance(started, Started)
        if self._known_runs is None or started.resumed:
            self._known_runs = find_children(parent)
        if number in self._known_runs:
            return self._known_runs[number]
        architecture = started.model.architecture.rpartition(":")[2] if started.model else ""
        run = parent.client.create_run(
            parent.experiment_id,
            start_time=milliseconds(started.time_s),
            tags={
                PARENT: parent.run_id,
                KIND: "trial",
                TRIAL: str(number),
                "sweeper.study": self._study,
                **origin_tags(self._study, started.tags),
            },
            run_name=f"{number:04d} {architecture}".rstrip(),
        )
        self._known_runs[number] = str(run.info.run_id)
        return self._known_runs[number]

    def _log_model(self, parent: Parent, number: int, cursor: Cursor) -> None:
        """Log the model of a complete trial, unless its training function brought its own."""
        events, _ = read_events(self._paths.events(number))
        started = next((event for event in events if isinstance(event, Started)), None)
        if started is None or started.model is None or started.data is None:
            return
        weights = self._paths.model(number)
        if not weights.exists():
            _logger.warning("%s: absent; trial %d gets no model in MLflow", weights, number)
            return
        from sweeper.tracking.models import log_model  # loads torch

        with artifact_errors(self._uri):
            logged = log_model(
                parent.client,
                experiment_id=parent.experiment_id,
                run_id=cursor.run_id,
                started=started,
                weights=weights,
            )
        metrics = []
        if cursor.best and logged.model_id:
            metrics = epoch_metrics(cursor.best, logged.model_id)
        tags = run_tags({"sweeper.model": logged.form})
        parent.client.log_batch(cursor.run_id, metrics=metrics, tags=tags)


def _set_status(parent: Parent, run_id: str, batch: Batch) -> bool:
    """Give the run the state that ``batch`` ends in; whether the trial has ended for good."""
    if batch.state is None:
        return False
    status = RUN_STATUS[batch.state]
    if batch.state in (TrialState.RUNNING, TrialState.WAITING):
        parent.client.update_run(run_id, status)
        return False
    parent.client.set_terminated(run_id, status, milliseconds(batch.ended_s))
    return True
