"""Which MLflow run each trial of a study has, and what that run says of the trial."""

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus

from sweeper.durable import Step, durable
from sweeper.events import Started
from sweeper.tracking.batch import RUN_STATUS, milliseconds
from sweeper.tracking.parent import (
    KIND,
    PARENT,
    TRIAL,
    Parent,
    list_children,
    origin_tags,
)
from sweeper.trial import TrialState


class TrialRuns:
    """The runs below a study's run. Each trial has one, whoever created it.

    Args:
        parent: The study's run.
        study: Name of the study.
    """

    def __init__(self, parent: Parent, study: str) -> None:
        self._parent = parent
        self._study = study
        self._known: dict[int, str] | None = {} if parent.is_new else None

    def find(self, number: int, *, anew: bool) -> str | None:
        """The trial's run; ``anew`` if another machine may have created it since the last look."""
        if self._known is None:
            self._known = self._list()
        elif anew:
            self._known.pop(number, None)
            self._known |= self._list(number)
        return self._known.get(number)

    def _list(self, number: int | None = None) -> dict[int, str]:
        children = list_children(self._parent, number)
        return {number: runs[0].info.run_id for number, runs in children.items()}

    def forget(self) -> None:
        """Look again before the next answer."""
        self._known = None

    def create(self, number: int, started: Started) -> str:
        """A new run for a trial that has none."""
        assert self._known is not None, "find comes first"
        # If the request fails half-way, nobody knows whether there is a run now.
        known, self._known = self._known, None
        with durable(Step.MIRROR_RUN):
            run = self._parent.client.create_run(
                self._parent.experiment_id,
                start_time=milliseconds(started.time_s),
                tags={
                    PARENT: self._parent.run_id,
                    KIND: "trial",
                    TRIAL: str(number),
                    "sweeper.study": self._study,
                    **origin_tags(self._study, started.tags),
                },
                run_name=trial_name(self._study, number, started),
            )
        known[number] = str(run.info.run_id)
        self._known = known
        return known[number]


def trial_name(study: str, number: int, started: Started) -> str:
    """What a trial's run and its model are called, as in ``mnist-0004-cnn``."""
    architecture = started.model.architecture.rpartition(":")[2] if started.model else ""
    return f"{study}-{number:04d}-{architecture}".rstrip("-")


def list_models(client: MlflowClient, experiment_id: str, run_id: str) -> list[LoggedModel]:
    """The MLflow models of a run, also one whose files are not all there."""
    models: list[LoggedModel] = client.search_logged_models(
        [experiment_id], f"source_run_id = '{run_id}'"
    )
    return models


def find_model(parent: Parent, run_id: str) -> str | None:
    """The id of a trial's MLflow model, by its run; None if it has none, or not yet."""
    known = list_models(parent.client, parent.experiment_id, run_id)
    ready = (model.model_id for model in known if model.status == LoggedModelStatus.READY)
    return next(ready, None)


def set_status(parent: Parent, run_id: str, state: TrialState, ended_s: float) -> None:
    """Give a trial's run the status that MLflow has for the state.

    Args:
        parent: The study's run.
        run_id: The trial's run.
        state: Of the trial.
        ended_s: When the trial ended, if it has, in seconds since the Unix epoch.
    """
    status = RUN_STATUS[state]
    with durable(Step.MIRROR_END):
        if state in (TrialState.RUNNING, TrialState.WAITING):
            parent.client.update_run(run_id, status)
        else:
            parent.client.set_terminated(run_id, status, milliseconds(ended_s))
