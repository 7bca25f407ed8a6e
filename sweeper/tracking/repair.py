"""What MLflow has of a study, and the ways to set it right."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import cached_property
from itertools import chain

from mlflow import MlflowClient
from mlflow.entities import Run

from sweeper.durable import Step, durable
from sweeper.events import Event
from sweeper.study.study import SweepStudy
from sweeper.tracking.client import artifact_errors, find_experiment, tracker_errors
from sweeper.tracking.cursor import Cursor
from sweeper.tracking.logged_files import missing_files
from sweeper.tracking.mirror import Mirror
from sweeper.tracking.parent import Parent, find_parent, list_children, list_parents
from sweeper.tracking.run_state import RunState, read_run_state
from sweeper.tracking.runs import list_models, set_status
from sweeper.tracking.sync import send_all
from sweeper.trial import TrialState


class StudyRuns:
    """The runs of one study, listed once and anew after each change.

    Every method raises :class:`~sweeper.errors.TrackerError` if MLflow cannot be used.

    Args:
        client: Of the store.
        study: In its storage.
        open_mirror: Makes the study's mirror once something is to be sent.

    Attributes:
        parent: The study's run; None before there is one.
        parents: All that claim to be it, the earliest first, which is the one that counts.
        children: Trial number -> its runs, the earliest first.
    """

    def __init__(
        self, client: MlflowClient, study: SweepStudy, open_mirror: Callable[[], Mirror]
    ) -> None:
        self._client = client
        self._uri = client.tracking_uri
        self._study = study
        self._open_mirror = open_mirror
        self.parent: Parent | None = None
        self.parents: list[Run] = []
        self.children: dict[int, list[Run]] = {}
        self._list()

    def _list(self) -> None:
        experiment_id = find_experiment(self._client, self._study.paths.study)
        if experiment_id is None:
            return
        with tracker_errors(self._uri):
            self.parents = list_parents(self._client, experiment_id)
            self.parent = find_parent(self._client, experiment_id)
            self.children = list_children(self.parent) if self.parent else {}

    @cached_property
    def _mirror(self) -> Mirror:
        return self._open_mirror()

    def has_run(self, number: int) -> bool:
        """Whether a trial has any run."""
        return number in self.children

    def run_of(self, number: int) -> Run:
        """Of a trial that has any the run that counts: the one that its events went to."""
        runs = self.children[number]
        noted = self.cursor(number).run_id
        return next((run for run in runs if run.info.run_id == noted), runs[0])

    def cursor(self, number: int) -> Cursor:
        """How far this machine has sent the trial's events."""
        path = self._study.paths.shipped(number)
        return Cursor.load(path, self.parent.run_id if self.parent else "")

    def state(self, run: Run, events: Iterable[Event]) -> RunState:
        """All that MLflow has of a trial with these events."""
        with tracker_errors(self._uri):
            return read_run_state(
                self._client, run.info.run_id, self._study.spec.objective, events
            )

    def missing_files(self, run_id: str, names: Collection[str]) -> list[str]:
        """Those of the logged files that a trial's run does not have."""
        with tracker_errors(self._uri), artifact_errors(self._uri):
            return missing_files(self._client, run_id, names)

    def send(self, numbers: Iterable[int] = ()) -> None:
        """Send all that is not known to be sent, and of these trials all that MLflow lacks."""
        for number in numbers:
            self._mirror.forget(number)
        try:
            send_all(self._mirror, self._study)
        finally:
            self._list()

    def delete(self, runs: Iterable[Run]) -> None:
        """Throw trials' runs and their models away; MLflow keeps runs in its trash."""
        with tracker_errors(self._uri):
            for run in runs:
                experiment_id, run_id = run.info.experiment_id, run.info.run_id
                for model in list_models(self._client, experiment_id, run_id):
                    self._client.delete_logged_model(model.model_id)
                with durable(Step.MIRROR_RUN):
                    self._client.delete_run(run_id)

    def delete_later_parents(self) -> None:
        """Throw away all runs of the study but the earliest, with all that is below them."""
        assert self.parent is not None
        for later in self.parents[1:]:
            with tracker_errors(self._uri):
                below = list_children(replace(self.parent, run_id=later.info.run_id))
            self.delete([*chain.from_iterable(below.values()), later])

    def rebuild(self, number: int) -> None:
        """Make a trial's run anew from its event log."""
        self.delete(self.children[number])
        self.send([number])

    def set_state(self, run: Run, state: TrialState, ended_s: float) -> None:
        """Let a trial's run say how the trial stands."""
        assert self.parent is not None
        with tracker_errors(self._uri):
            set_status(self.parent, run.info.run_id, state, ended_s)
            self._client.set_tag(run.info.run_id, "sweeper.state", state.value)
        self._list()
