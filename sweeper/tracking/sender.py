"""What one trial's MLflow run is sent, so that it ends with each point once."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from sweeper.config.names import is_own_metric
from sweeper.durable import Step, durable
from sweeper.errors import RequestRefusedError
from sweeper.events import Event, FileLogged, Interrupted, Started
from sweeper.tracking.batch import Batch
from sweeper.tracking.client import artifact_errors
from sweeper.tracking.cursor import Cursor
from sweeper.tracking.exporting import Exporting
from sweeper.tracking.logged_files import send_files
from sweeper.tracking.mirrored_study import MirroredStudy, Sent
from sweeper.tracking.parent import Parent
from sweeper.tracking.run_state import RunState, read_run_state
from sweeper.tracking.runs import TrialRuns, set_status
from sweeper.tracking.shared_runs import SharedRuns
from sweeper.tracking.trial_models import TrialModels
from sweeper.trial import EpochMetrics, TrialState

_logger = logging.getLogger("sweeper")


class Sender:
    """Sends what trials did to their runs below one parent run.

    MLflow keeps a point twice when it comes with another time or value. So before the first events
    of a trial that it sends, and wherever another machine may have been at work in between, it
    asks what the run has, and leaves that out.

    Args:
        parent: The study's run.
        study: Whose trials they are.
        exporter: As of :class:`~sweeper.tracking.trial_models.TrialModels`.

    Attributes:
        parent: The study's run.
        sent: So far.
        models: Those of complete trials.
    """

    def __init__(
        self, parent: Parent, study: MirroredStudy, exporter: Exporting | None = None
    ) -> None:
        self.sent = Sent()
        self.models = TrialModels(parent, study, self.sent, exporter)
        self.parent = parent
        self._study = study
        self._paths = study.paths
        self._runs = TrialRuns(parent, study.paths.study)
        self._certain: set[int] = set()
        self._left_out: set[str] = set()
        self._shared_runs = SharedRuns(parent, study) if study.shares_runs else None

    def forget(self) -> None:
        """Ask MLflow again what it has, of each trial that more is sent of."""
        self._certain.clear()
        self._runs.forget()

    def send_next(self, number: int, cursor: Cursor) -> Cursor:
        """Send what the trial's log has beyond the cursor; where the cursor is then."""
        events, offset = self._study.read_log(number, cursor.offset)
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
            batch = Batch(self._study, cursor.last_epoch, cursor.best, cursor.shown)
            cursor = self._apply(number, cursor, batch, events, events)
        else:
            cursor = self._take_up(number, cursor, is_resumed=is_resumed)
        self.sent.n_events += len(events)
        self.sent.n_trials += 1
        return replace(cursor, offset=offset)

    def _take_up(self, number: int, cursor: Cursor, *, is_resumed: bool) -> Cursor:
        """Send all of the log that MLflow lacks."""
        events, _ = self._study.read_log(number)
        known = self._find_or_create(number, cursor.run_id, events, is_resumed=is_resumed)
        # Of a run that was made anew, or that another machine made, it has none of the files.
        n_sent = cursor.offset if known.run_id == cursor.run_id else 0
        cursor = replace(cursor, run_id=known.run_id)
        # After the events: with a trial's end among them, nobody looks for its files again.
        unsent, _ = self._study.read_log(number, n_sent)
        try:
            return self._catch_up(number, cursor, known, events, unsent)
        finally:  # whatever MLflow refuses of the rest, there is a run
            if self._shared_runs:
                self._shared_runs.leave(number, known.run_id, events)

    def _catch_up(
        self,
        number: int,
        cursor: Cursor,
        known: RunState,
        events: Sequence[Event],
        unsent: Sequence[Event],
    ) -> Cursor:
        if known.is_later_than(events):
            _logger.warning(
                "trial %d: another machine went on with it; MLflow keeps what that one sent",
                number,
            )
            return cursor
        batch = Batch(self._study, known.last_epoch, None, known.shown)
        batch.metrics += [
            point
            for point in known.lacks(events, self._study.objective)
            if point.step <= known.last_epoch
        ]
        return self._apply(number, cursor, batch, events, unsent)

    def _find_or_create(
        self, number: int, run_id: str | None, events: Sequence[Event], *, is_resumed: bool
    ) -> RunState:
        """The trial's run: known, created before a crash, begun by another machine, or new."""
        run_id = run_id or self._runs.find(number, anew=is_resumed)
        while run_id:
            known = read_run_state(self.parent.client, run_id, self._study.objective, events)
            if not known.is_deleted:
                return known
            run_id = self._runs.find(number, anew=True)
        if not isinstance(events[0], Started):
            raise RequestRefusedError(
                f"{self._paths.events(number)}: the first event is {type(events[0]).__name__}, "
                "not Started; MLflow lacks this trial"
            )
        return RunState(self._runs.create(number, events[0]))

    def _apply(
        self,
        number: int,
        cursor: Cursor,
        batch: Batch,
        events: Sequence[Event],
        unsent: Sequence[Event],
    ) -> Cursor:
        """Send what the batch is with these events, and the files of those not sent before."""
        run_id = cursor.run_id
        self._tell_left_out(events)
        for event in events:
            batch.add(event)
        self._send(run_id, batch)
        files = {event.path for event in unsent if isinstance(event, FileLogged)}
        with artifact_errors(self._study.uri):
            send_files(self.parent.client, run_id, self._paths.logged_files(number), files)
        cursor = replace(
            cursor,
            last_epoch=batch.last_epoch,
            best=batch.best,
            shown=batch.shown,
            is_ended=batch.is_ended,
        )
        if batch.state is TrialState.COMPLETE and self._study.log_models == "completed":
            self.models.log(number, cursor)
        if batch.is_ended and self._shared_runs:
            self._shared_runs.compare(run_id, self._study.read_log(number)[0])
        if batch.state is not None:
            set_status(self.parent, run_id, batch.state, batch.ended_s)
        self._certain.add(number)
        return cursor

    def _send(self, run_id: str, batch: Batch) -> None:
        client = self.parent.client
        for params, tags, metrics in batch.chunks():
            with durable(Step.MIRROR_SEND):
                client.log_batch(run_id, params=params, tags=tags, metrics=metrics)
        if batch.dataset:
            with durable(Step.MIRROR_SEND):
                client.log_inputs(run_id, datasets=[batch.dataset])

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
