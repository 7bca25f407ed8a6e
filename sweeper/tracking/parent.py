"""The one run that stands for the whole study, and the runs below it."""

import getpass
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import Metric, Run

from sweeper.durable import Step, durable
from sweeper.tracking.batch import run_tags
from sweeper.trial import TrialState

#: SCHEDULED is a study that the same command goes on with.
ParentStatus = Literal["RUNNING", "FINISHED", "SCHEDULED"]

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


def find_parent(client: MlflowClient, experiment_id: str) -> Parent | None:
    """The study's run as it is, if there is one."""
    parents = list_parents(client, experiment_id)
    if not parents:
        return None
    return Parent(client, experiment_id, parents[0].info.run_id, is_new=False)


def open_parent(
    client: MlflowClient,
    experiment_id: str,
    study: str,
    tags: Mapping[str, str],
    *,
    is_start: bool,
    founding: Callable[[], AbstractContextManager[None]],
) -> Parent:
    """Find or create the study's run and set it RUNNING.

    Args:
        client: Of the store.
        experiment_id: Of the study's experiment.
        study: Name of the study and of the run.
        tags: Without the ``sweeper.`` prefix; they replace those of an earlier start.
        is_start: Somebody begins to work on the study; else a run that is there stays as it is.
        founding: Entered to create it, so that no other machine does so meanwhile.
    """
    parent = find_parent(client, experiment_id)
    all_tags = {
        KIND: "study",
        "sweeper.study": study,
        **{f"sweeper.{key}": value for key, value in tags.items()},
        **origin_tags(study, tags),
    }
    if parent is None:
        with founding():
            parent = find_parent(client, experiment_id)
            if parent is None:
                with durable(Step.MIRROR_RUN):
                    run = client.create_run(experiment_id, tags=all_tags, run_name=study)
                return Parent(client, experiment_id, run.info.run_id, is_new=True)
    if is_start:
        with durable(Step.MIRROR_SEND):
            client.log_batch(parent.run_id, tags=run_tags(all_tags))
            client.update_run(parent.run_id, "RUNNING")
    return parent


def parent_status(*, goal_reached: bool, counts: Mapping[TrialState, int]) -> ParentStatus:
    """How the study's run stands: RUNNING as long as a trial runs, on whatever machine."""
    if goal_reached:
        return "FINISHED"
    return "RUNNING" if counts.get(TrialState.RUNNING) else "SCHEDULED"


def close_parent(
    parent: Parent, status: ParentStatus, *, metrics: Sequence[Metric], tags: Mapping[str, str]
) -> None:
    """Let the study's run show what the study has come to."""
    client = parent.client
    with durable(Step.MIRROR_END):
        client.log_batch(parent.run_id, metrics=metrics, tags=run_tags(tags))
        if status == "FINISHED":
            client.set_terminated(parent.run_id, status)
        else:
            client.update_run(parent.run_id, status)


def list_children(parent: Parent, number: int | None = None) -> dict[int, list[Run]]:
    """Trial number -> its runs, the earliest first.

    Args:
        parent: The study's run.
        number: Of the only trial to look for; else of every trial that the store knows.
    """
    condition = f"tags.`{PARENT}` = '{parent.run_id}' and tags.`{KIND}` = 'trial'"
    if number is not None:
        condition += f" and tags.`{TRIAL}` = '{number}'"
    found = chain.from_iterable(run_pages(parent.client, parent.experiment_id, condition))
    children: dict[int, list[Run]] = {}
    for run in _earliest_first(found):
        children.setdefault(int(run.data.tags[TRIAL]), []).append(run)
    return children


def run_pages(
    client: MlflowClient, experiment_id: str, condition: str = "", *, size: int = 1000
) -> Iterator[Sequence[Run]]:
    """The runs of an experiment, the latest first.

    Args:
        client: Of the store.
        experiment_id: Of the experiment.
        condition: As MLflow searches; empty for all runs.
        size: Of a page, which is a request.
    """
    token = None
    while token != "":
        page = client.search_runs([experiment_id], condition, max_results=size, page_token=token)
        yield page
        token = page.token or ""


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


def list_parents(client: MlflowClient, experiment_id: str) -> list[Run]:
    """Runs that stand for the study, the earliest first, which is the one that counts."""
    return _earliest_first(client.search_runs([experiment_id], f"tags.`{KIND}` = 'study'"))


def _earliest_first(runs: Iterable[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"  # a container without an entry in the password file
