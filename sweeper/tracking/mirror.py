"""The mirror itself: which trials have something to send, and what the study has come to."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from mlflow.entities import Metric

from sweeper.config.render import render_public
from sweeper.durable import Step, durable
from sweeper.errors import RequestRefusedError
from sweeper.study.leases import LEASE_S
from sweeper.text import format_counts, redacted
from sweeper.timing import render_seconds
from sweeper.tracking.address import local_uri
from sweeper.tracking.batch import best_metrics
from sweeper.tracking.client import (
    artifact_errors,
    find_or_create_experiment,
    open_client,
    tracker_errors,
)
from sweeper.tracking.completion import Completion
from sweeper.tracking.cursor import Cursor
from sweeper.tracking.description import (
    Description,
    prepare_description,
    write_description,
)
from sweeper.tracking.exporting import Exporting
from sweeper.tracking.local_store import merge_wal
from sweeper.tracking.mirrored_study import MirroredStudy, Sent
from sweeper.tracking.parent import Parent, close_parent, open_parent, parent_status
from sweeper.tracking.runs import find_model
from sweeper.tracking.sender import Sender
from sweeper.tracking.view import save_view
from sweeper.trial import TrialState


class Mirror:
    """Sends a study's event logs to MLflow. For one thread of one process at a time.

    A pass that fails half-way is repeated by the next one, and nothing is sent that MLflow would
    keep twice. Losing the cursors, or MLflow's store, means more requests and nothing else.

    Args:
        study: Whose event logs they are.
        tags: Of the parent run, without the ``sweeper.`` prefix; ``git_commit`` also becomes
            MLflow's own tag, as it does among the tags of :class:`~sweeper.events.Started`.
        is_start: Somebody begins to work on the study; else a parent run that is there stays as
            it is until ``finish``.
        founding: Entered to create the parent run, so that no other machine does so meanwhile.
        now: Seconds of a clock that counts on while the machine sleeps.
        exporter: Exports models in another process; None for this one.
    """

    def __init__(
        self,
        study: MirroredStudy,
        tags: Mapping[str, str],
        *,
        is_start: bool = True,
        founding: Callable[[], AbstractContextManager[None]] = nullcontext,
        now: Callable[[], float] = time.time,
        exporter: Exporting | None = None,
    ) -> None:
        self._study = study
        self._exporter = exporter
        self._paths = study.paths
        self._uri = study.uri
        self._tags = tags
        self._is_start = is_start
        self._founding = founding
        self._now = now
        self._sender: Sender | None = None
        self._cursors: dict[int, Cursor] = {}
        self._finished: set[int] = set()
        self._passed_s = now()

    @property
    def sent(self) -> Sent:
        """What has been sent since the mirror was made."""
        return self._sender.sent if self._sender else Sent()

    def open(self) -> Parent:
        """Find or create the experiment and the parent run. ``send`` and ``finish`` do it too.

        Raises:
            TrackerError: If MLflow cannot be used now. Call again later.
        """
        return self._open().parent

    def _open(self) -> Sender:
        if self._sender is None:
            self._sender = Sender(self._open_parent(), self._study, self._exporter)
        return self._sender

    def _open_parent(self) -> Parent:
        client, study = open_client(self._uri, self._paths), self._paths.study
        public = render_public(self._paths.resolved_spec.read_text(encoding="utf-8"))
        experiment_id = find_or_create_experiment(client, self._paths)
        with tracker_errors(self._uri):
            parent = open_parent(
                client,
                experiment_id,
                study,
                self._tags,
                is_start=self._is_start,
                founding=self._founding,
            )
            with artifact_errors(self._uri), durable(Step.MIRROR_SEND):
                client.log_text(parent.run_id, public, self._paths.resolved_spec.name)
        return parent

    def send(self, show: Callable[[int, int], None] = lambda done, total: None) -> int:
        """One pass over all trials with unsent events.

        Args:
            show: Called with the number of trials looked at and that of all to look at.

        Returns:
            The number of events sent.

        Raises:
            TrackerError: If MLflow cannot be used, or refused what a trial sent; the other trials
                have been sent then. A later call sends what is missing.
            StoreError: If the disk does not take what must be remembered.
        """
        sender = self._open()
        now = self._now()
        if now - self._passed_s > LEASE_S:
            sender.forget()  # this process stood still for so long that others took over
        self._passed_s = now
        n_before = sender.sent.n_events
        refusal: RequestRefusedError | None = None
        numbers = sorted(self._paths.trial_numbers() - self._finished)
        for n_done, number in enumerate(numbers):
            show(n_done, len(numbers))
            try:
                with tracker_errors(self._uri):
                    self._send_trial(sender, number)
            except RequestRefusedError as exc:
                refusal = refusal or exc
        if refusal:
            raise refusal
        return sender.sent.n_events - n_before

    def prepare_end(self) -> None:
        """Once a trial runs, begin with what a study's end would wait for. May be called often."""
        begun = [number for number, cursor in self._cursors.items() if cursor.run_id]
        if self._sender is None or not begun:
            return
        if self._study.log_models == "completed":
            self._sender.models.prepare(begun[0])
        prepare_description()

    def forget(self, number: int) -> None:
        """Drop what was noted of a trial, so that the next pass sends what MLflow lacks."""
        self._paths.shipped(number).unlink(missing_ok=True)
        self._cursors.pop(number, None)
        self._finished.discard(number)
        if self._sender:
            self._sender.forget()

    def finish(
        self,
        *,
        goal_reached: bool,
        best_trials: Sequence[int],
        counts: Mapping[TrialState, int],
        seconds: Mapping[str, float],
        sampler: Mapping[str, str],
    ) -> None:
        """Let the parent run show what the study has come to. May be called many times.

        It ends as FINISHED when the goal is reached; else it stays RUNNING as long as a trial
        runs, on whatever machine, and is SCHEDULED after that, to go on later.

        Args:
            goal_reached: Nothing is left to do.
            best_trials: Number of the best complete trial, or those of the Pareto front. With
                one alone, the parent run shows its ``best_<metric>`` too. Of a trial that another
                machine sent, the number alone is known here.
            counts: Trials by state.
            seconds: Where the time of all trials went.
            sampler: What is to be told of it, tags without the ``sweeper.`` prefix.

        Raises:
            TrackerError: If MLflow cannot be used now. Call again later.
        """
        sender = self._open()
        loaded = {number: self._cursor(sender.parent, number) for number in best_trials}
        cursors = {number: cursor for number, cursor in loaded.items() if cursor.run_id}
        metrics = self._summary(list(loaded.values()), counts.get(TrialState.COMPLETE, 0))
        tags = {
            "sweeper.best_trials": ", ".join(map(str, best_trials)),
            "sweeper.best_runs": ", ".join(cursor.run_id for cursor in cursors.values()),
            "sweeper.trials": format_counts(counts),
            "sweeper.time": render_seconds(seconds),
            **{f"sweeper.{name}": text for name, text in sampler.items()},
        }
        with tracker_errors(self._uri):
            if goal_reached and self._study.log_models == "best":
                for number, cursor in cursors.items():
                    sender.models.log(number, cursor)
            status = parent_status(goal_reached=goal_reached, counts=counts)
            close_parent(sender.parent, status, metrics=metrics, tags=tags)
            if self._uri == local_uri(self._paths):
                merge_wal(self._paths)

    def describe(self, description: Description) -> None:
        """Let the parent run tell of the study in words and pictures, and the page have its view.

        Nothing is sent if they do.

        Raises:
            TrackerError: If MLflow cannot be used now. Call again later.
        """
        parent = self.open()
        cursors = {best.number: self._cursor(parent, best.number) for best in description.told}
        runs = {number: cursor.run_id for number, cursor in cursors.items() if cursor.run_id}
        with tracker_errors(self._uri):
            experiment = parent.client.get_experiment(parent.experiment_id)
            save_view(parent.client, experiment, description.spec)
            write_description(parent, description, runs)

    def completion(self, sent: str, best_trials: Iterable[int]) -> Completion:
        """That MLflow has all of the study.

        Args:
            sent: As in :class:`~sweeper.tracking.completion.Completion`.
            best_trials: Their numbers.

        Raises:
            TrackerError: If MLflow cannot be used now.
        """
        parent = self.open()
        with tracker_errors(self._uri):
            found = {n: find_model(parent, self._cursor(parent, n).run_id) for n in best_trials}
        models = {number: f"models:/{model_id}" for number, model_id in found.items() if model_id}
        return Completion(sent, redacted(self._uri), parent.run_id, models)

    def _summary(self, best: Sequence[Cursor], n_complete: int) -> list[Metric]:
        """What the study's run shows of its best trial, if that is one alone."""
        if len(best) != 1 or not best[0].is_ended or best[0].best is None:
            return []
        # A summary over more complete trials is the later one, whatever its epoch.
        return best_metrics(best[0].best, self._study.objective, n_complete)

    def _cursor(self, parent: Parent, number: int) -> Cursor:
        if number in self._cursors:
            return self._cursors[number]
        cursor = Cursor.load(self._paths.shipped(number), parent.run_id)
        log = self._paths.events(number)
        if log.exists() and log.stat().st_size < cursor.offset:
            # The folder was copied while events were sent, the log before the cursor.
            return Cursor(parent_id=parent.run_id)
        return cursor

    def _send_trial(self, sender: Sender, number: int) -> None:
        before = self._cursor(sender.parent, number)
        cursor = before if before.is_ended else sender.send_next(number, before)
        if cursor != before:
            cursor.save(self._paths.shipped(number), self._paths.events(number))
        if cursor.is_ended:
            self._finished.add(number)
            self._cursors.pop(number, None)
        else:
            self._cursors[number] = cursor
