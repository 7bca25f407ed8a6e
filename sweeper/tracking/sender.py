"""What one trial's MLflow run is sent, so that it ends with each point once."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from sweeper.config.names import is_own_metric
from sweeper.durable import Step, durable
from sweeper.errors import EventLogError, RequestRefusedError
from sweeper.events import Ended, Event, Interrupted, Started, read_events
from sweeper.paths import RunPaths
from sweeper.tracking.batch import Batch, epoch_metrics, run_tags
from sweeper.tracking.client import artifact_errors
from sweeper.tracking.cursor import Cursor
from sweeper.tracking.imports import loading
from sweeper.tracking.parent import Parent
from sweeper.tracking.run_state import RunState, read_run_state
from sweeper.tracking.runs import TrialRuns, find_model, set_status, trial_name
from sweeper.tracking.shared_runs import SharedRuns
from sweeper.trial import EpochMetrics, Objective, TrialState

if TYPE_CHECKING:
    from sweeper.tracking.logged_models import ModelLogger

LogModels = Literal["none", "best", "completed"]

_logger = logging.getLogger("sweeper")

#: What logs the models of trials that were sent without their code.
_LOGS_MODEL = {"best": "sweeper sync STUDY.yaml", "completed": "sweeper doctor STUDY.yaml --fix"}


@dataclass
class Sent:
    """How much has been sent."""

    n_events: int = 0
    n_trials: int = 0
    n_models: int = 0


@dataclass(frozen=True)
class MirroredStudy:
    """What the mirror needs to know of a study.

    Attributes:
        paths: Its files.
        uri: As :func:`~sweeper.tracking.address.tracking_uri` gives it.
        objective: Decides which epoch of a trial counts.
        searched: Names of the study's ranges, in the order of the file.
        log_models: Of which complete trials the model is logged.
        references: The user's own code that may be called to build a model. What else an event
            log names is not: others may have written it.
        shares_runs: The trials' own code logs to their runs, too.
    """

    paths: RunPaths
    uri: str
    objective: Objective
    searched: Sequence[str]
    log_models: LogModels
    references: Collection[str] = ()
    shares_runs: bool = False


class Sender:
    """Sends what trials did to their runs below one parent run.

    MLflow keeps a point twice when it comes with another time or value. So before the first events
    of a trial that it sends, and wherever another machine may have been at work in between, it
    asks what the run has, and leaves that out.

    Args:
        parent: The study's run.
        study: Whose trials they are.

    Attributes:
        sent: So far.
    """

    def __init__(self, parent: Parent, study: MirroredStudy) -> None:
        self.sent = Sent()
        self._parent = parent
        self._study = study
        self._paths = study.paths
        self._runs = TrialRuns(parent, study.paths.study)
        self._certain: set[int] = set()
        self._left_out: set[str] = set()
        self._shared_runs = (
            SharedRuns(parent, study.paths, study.uri, study.objective)
            if study.shares_runs
            else None
        )

    def forget(self) -> None:
        """Ask MLflow again what it has, of each trial that more is sent of."""
        self._certain.clear()
        self._runs.forget()

    def send_next(self, number: int, cursor: Cursor) -> Cursor:
        """Send what the trial's log has beyond the cursor; where the cursor is then."""
        events, offset = self._read(number, cursor.offset)
        if not events:
            return cursor
        # One that was interrupted before anything was sent may come from another machine.
        is_resumed = any(
            (isinstance(event, Started) and event.resumed)
            or (isinstance(event, Interrupted) and not cursor.run_id)
            for event in events
        )
        is_certain = number in self._certain and not is_resumed
        self._certain.discard(number)  # until all went well
        if is_certain:
            batch = self._batch(cursor.last_epoch, cursor.best, cursor.shown)
            cursor = self._apply(number, cursor, batch, events)
        else:
            cursor = self._take_up(number, cursor, is_resumed=is_resumed)
        self.sent.n_events += len(events)
        self.sent.n_trials += 1
        return replace(cursor, offset=offset)

    def _take_up(self, number: int, cursor: Cursor, *, is_resumed: bool) -> Cursor:
        """Send all of the log that MLflow lacks."""
        events, _ = self._read(number, 0)
        known = self._find_or_create(number, cursor.run_id, events, is_resumed=is_resumed)
        try:
            return self._catch_up(number, replace(cursor, run_id=known.run_id), known, events)
        finally:  # whatever MLflow refuses of the rest, there is a run
            if self._shared_runs:
                self._shared_runs.leave(number, known.run_id, events)

    def _catch_up(
        self, number: int, cursor: Cursor, known: RunState, events: Sequence[Event]
    ) -> Cursor:
        if known.is_later_than(events):
            _logger.warning(
                "trial %d: another machine went on with it; MLflow keeps what that one sent",
                number,
            )
            return cursor
        batch = self._batch(known.last_epoch, None, known.shown)
        batch.metrics += [
            point
            for point in known.lacks(events, self._study.objective)
            if point.step <= known.last_epoch
        ]
        return self._apply(number, cursor, batch, events)

    def _batch(
        self, last_epoch: int, best: EpochMetrics | None, shown: Mapping[str, float]
    ) -> Batch:
        study = self._study
        return Batch(
            study.objective, study.searched, last_epoch, best, shown, is_shared=study.shares_runs
        )

    def _find_or_create(
        self, number: int, run_id: str | None, events: Sequence[Event], *, is_resumed: bool
    ) -> RunState:
        """The trial's run: known, created before a crash, begun by another machine, or new."""
        run_id = run_id or self._runs.find(number, anew=is_resumed)
        while run_id:
            known = read_run_state(self._parent.client, run_id, self._study.objective, events)
            if not known.is_deleted:
                return known
            run_id = self._runs.find(number, anew=True)
        if not isinstance(events[0], Started):
            raise RequestRefusedError(
                f"{self._paths.events(number)}: the first event is {type(events[0]).__name__}, "
                "not Started; MLflow lacks this trial"
            )
        return RunState(self._runs.create(number, events[0]))

    def _apply(self, number: int, cursor: Cursor, batch: Batch, events: Sequence[Event]) -> Cursor:
        client, run_id = self._parent.client, cursor.run_id
        self._tell_left_out(events)
        for event in events:
            batch.add(event)
        for params, tags, metrics in batch.chunks():
            with durable(Step.MIRROR_SEND):
                client.log_batch(run_id, params=params, tags=tags, metrics=metrics)
        if batch.dataset:
            with durable(Step.MIRROR_SEND):
                client.log_inputs(run_id, datasets=[batch.dataset])
        cursor = replace(
            cursor,
            last_epoch=batch.last_epoch,
            best=batch.best,
            shown=batch.shown,
            is_ended=batch.is_ended,
        )
        if batch.state is TrialState.COMPLETE and self._study.log_models == "completed":
            self.log_model(number, cursor)
        if batch.is_ended and self._shared_runs:
            self._shared_runs.compare(run_id, self._read(number, 0)[0])
        if batch.state is not None:
            set_status(self._parent, run_id, batch.state, batch.ended_s)
        self._certain.add(number)
        return cursor

    def _tell_left_out(self, events: Sequence[Event]) -> None:
        """Say once what older code let user code report, and MLflow is not sent."""
        metrics = self._study.objective.metrics
        epochs = [event for event in events if isinstance(event, EpochMetrics)]
        own = {name for epoch in epochs for name in epoch.values if is_own_metric(name, metrics)}
        if new := sorted(own - self._left_out):
            self._left_out |= own
            _logger.warning(
                "%s: what the training reports as %s is not sent to MLflow, as sweeper writes a "
                "metric of that name itself; it stays in the event logs",
                self._paths.study,
                ", ".join(new),
            )

    def log_model(self, number: int, cursor: Cursor) -> None:
        """Log the model of a complete trial, unless its training function brought its own."""
        events, _ = self._read(number, 0)
        started = next((event for event in events if isinstance(event, Started)), None)
        if started is None or started.model is None or started.data is None:
            return
        weights = self._paths.model(number)
        if not weights.exists():
            _logger.warning("%s: absent; trial %d gets no model in MLflow", weights, number)
            return
        models, name = self._models, trial_name(self._paths.study, number, started)
        with artifact_errors(self._study.uri):
            kept = self._paths.preprocessing(started.data.preprocessing)
            logged = models.log(cursor.run_id, name, started, weights, kept)
        if logged.form == "weights":
            _logger.warning(
                "%s: sent with the reference %s, which names code that is not called, as no study "
                "file that names it was given; `%s`, where that code can be imported, logs the "
                "model itself",
                weights,
                started.model.architecture,
                _LOGS_MODEL[self._study.log_models],
            )
        metrics = []
        if cursor.best and logged.model_id:
            objective = self._study.objective
            metrics = epoch_metrics(cursor.best, objective, logged.model_id)
            # The page shows a model's metrics in the order in which they came.
            metrics.sort(key=lambda metric: metric.key not in objective.metrics)
        tags = run_tags({"sweeper.model": logged.form})
        with durable(Step.MIRROR_SEND):
            self._parent.client.log_batch(cursor.run_id, metrics=metrics, tags=tags)
        self.sent.n_models += logged.form != "unreadable"

    def find_model(self, cursor: Cursor) -> str | None:
        """The id of the MLflow model of a trial; None if it has none, or not yet."""
        return find_model(self._parent.client, self._parent.experiment_id, cursor.run_id)

    @cached_property
    def _models(self) -> "ModelLogger":
        with loading("torch.export"):
            from sweeper.tracking.exported import import_export
            from sweeper.tracking.logged_models import ModelLogger  # loads torch

            import_export()
        return ModelLogger(
            self._parent.client,
            self._parent.experiment_id,
            searched=self._study.searched,
            references=self._study.references,
        )

    def _read(self, number: int, offset: int) -> tuple[list[Event], int]:
        path = self._paths.events(number)
        try:
            events, offset = read_events(path, offset)
        except EventLogError as exc:
            raise RequestRefusedError(f"{exc}. MLflow lacks the rest of this trial") from exc
        for epoch in _epochs(events):
            if lacks := set(self._study.objective.metrics) - epoch.values.keys():
                raise RequestRefusedError(
                    f"{path}: epoch {epoch.epoch} has no {', '.join(sorted(lacks))}, which the "
                    "study optimises; move the trial's folder away if it is of another study"
                )
        return events, offset


def _epochs(events: Iterable[Event]) -> Iterator[EpochMetrics]:
    """All that events tell of, the one that counts of a trial's end among them."""
    for event in events:
        if isinstance(event, EpochMetrics):
            yield event
        elif isinstance(event, Ended) and event.outcome.best is not None:
            yield event.outcome.best
