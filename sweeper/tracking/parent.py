"""The one run that stands for the whole study, and the runs below it."""

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Metric, Run

from sweeper.tracking.batch import run_tags

KIND, TRIAL, PARENT = "sweeper.kind", "sweeper.trial", "mlflow.parentRunId"


@dataclass(frozen=True)
class Parent:
    """The study's run in an MLflow store that has answered.

    Attributes:
        client: Of that store.
        experiment_id: Of the study's experiment.
        run_id: Of the study's run.
        is_new: Nothing can be below it yet.
    """

    client: MlflowClient
    experiment_id: str
    run_id: str
    is_new: bool


def open_parent(
    client: MlflowClient, experiment_id: str, study: str, tags: Mapping[str, str]
) -> Parent:
    """Find or create the study's run and set it RUNNING.

    Args:
        client: Of the store.
        experiment_id: Of the study's experiment.
        study: Name of the study and of the run.
        tags: Without the ``sweeper.`` prefix; they replace those of an earlier start.
    """
    all_tags = {
        KIND: "study",
        "sweeper.study": study,
        **{f"sweeper.{key}": value for key, value in tags.items()},
        **origin_tags(study, tags),
    }
    parents = _find_parents(client, experiment_id)
    if not parents:
        run_id = client.create_run(experiment_id, tags=all_tags, run_name=study).info.run_id
        # Another machine may have done the same at the same moment: all keep the eldest.
        parents = _find_parents(client, experiment_id)
        if parents[0].info.run_id == run_id:
            return Parent(client, experiment_id, run_id, is_new=True)
        client.delete_run(run_id)
    parent = Parent(client, experiment_id, parents[0].info.run_id, is_new=False)
    client.log_batch(parent.run_id, tags=run_tags(all_tags))
    client.update_run(parent.run_id, "RUNNING")
    return parent


def close_parent(
    parent: Parent, *, goal_reached: bool, metrics: Sequence[Metric], tags: Mapping[str, str]
) -> None:
    """End the study's run as FINISHED, or leave it SCHEDULED: the same command goes on."""
    client = parent.client
    client.log_batch(parent.run_id, metrics=metrics, tags=run_tags(tags))
    if goal_reached:
        client.set_terminated(parent.run_id, "FINISHED")
    else:
        client.update_run(parent.run_id, "SCHEDULED")


def find_children(parent: Parent) -> dict[int, str]:
    """Trial number -> run id, of every trial that the store knows."""
    children: dict[int, str] = {}
    token = None
    while True:
        page = parent.client.search_runs(
            [parent.experiment_id],
            f"tags.`{PARENT}` = '{parent.run_id}' and tags.`{KIND}` = 'trial'",
            page_token=token,
        )
        children |= {int(run.data.tags[TRIAL]): run.info.run_id for run in page}
        token = page.token
        if not token:
            return children


def origin_tags(study: str, tags: Mapping[str, str]) -> dict[str, str]:
    """MLflow's own tags on who ran what; the commit is known when ``tags`` has ``git_commit``."""
    origin = {
        "mlflow.user": _user(),
        "mlflow.source.name": f"sweeper run {study}",
        "mlflow.source.type": "LOCAL",
    }
    if commit := tags.get("git_commit"):
        origin["mlflow.source.git.commit"] = commit
    return origin


def _find_parents(client: MlflowClient, experiment_id: str) -> list[Run]:
    runs = client.search_runs([experiment_id], f"tags.`{KIND}` = 'study'")
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"  # a container without an entry in the password file
