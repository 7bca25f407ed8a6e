"""A study's folder with an MLflow store, and the events of short trials."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run

from sweeper.config.settings import ModelConfig
from sweeper.events import Ended, Event, EventWriter, Started
from sweeper.models.build import build_for
from sweeper.paths import RunPaths
from sweeper.tracking.client import find_or_create_experiment
from sweeper.tracking.exporting import Exporting
from sweeper.tracking.mirror import Mirror
from sweeper.tracking.mirrored_study import LogModels, MirroredStudy
from sweeper.trial import DataInfo, EpochMetrics, Objective, Outcome, TrialState

ACCURACY = Objective(("val_accuracy",), ("maximize",))
DATA = DataInfo("digits", "0123456789abcdef", (1, 8, 8), 10, 1500, 297, (0.3,), (0.4,))
MODEL = ModelConfig(architecture="mlp", params={"depth": 1, "width": 8})
SEARCHED = ("train.learning_rate", "model.architecture")
START_S = 1_700_000_000.0


@dataclass(frozen=True)
class Store:
    """A study's folder with an empty MLflow store, and short ways to write and look."""

    paths: RunPaths
    uri: str
    client: MlflowClient

    def mirror(
        self,
        *,
        objective: Objective = ACCURACY,
        searched: Sequence[str] = SEARCHED,
        log_models: LogModels = "none",
        uri: str | None = None,
        references: Collection[str] = (),
        shares_runs: bool = False,
        is_start: bool = True,
        founding: Callable[[], AbstractContextManager[None]] = nullcontext,
        now: Callable[[], float] = time.time,
        exporter: Exporting | None = None,
    ) -> Mirror:
        return Mirror(
            MirroredStudy(
                self.paths,
                uri or self.uri,
                objective,
                searched,
                log_models,
                references,
                shares_runs=shares_runs,
            ),
            {"git_commit": "c0ffee", "sampler": "tpe"},
            is_start=is_start,
            founding=founding,
            now=now,
            exporter=exporter,
        )

    def append(self, number: int, *events: Event) -> None:
        with EventWriter(self.paths.events(number)) as writer:
            for event in events:
                writer.append(event)

    def machine(self, name: str) -> "Store":
        """The same study on another machine: the same MLflow, a folder of its own.

        MLflow keeps the artifacts of both here, as a store that lies here may name no other place.
        """
        find_or_create_experiment(self.client, self.paths)
        paths = RunPaths(self.paths.root / name, self.paths.study)
        paths.study_dir.mkdir(parents=True, exist_ok=True)
        paths.resolved_spec.write_text("name: digits\n")
        return replace(self, paths=paths)

    def runs(self, kind: str) -> list[Run]:
        experiment = self.client.get_experiment_by_name(self.paths.study)
        assert experiment is not None
        return list(
            self.client.search_runs(
                [experiment.experiment_id],
                f"tags.`sweeper.kind` = '{kind}'",
                order_by=["attributes.run_name"],
            )
        )

    def trial(self) -> Run:
        [run] = self.runs("trial")
        return run

    def curve(self, run: Run, metric: str) -> list[tuple[int, float, int]]:
        """(step, value, timestamp in ms) of every point that the store holds."""
        points = self.client.get_metric_history(run.info.run_id, metric)
        return sorted((point.step, point.value, point.timestamp) for point in points)


def started(*, resumed: int = 0, at_s: float = 0.0, **params: str | float) -> Started:
    return Started(
        time_s=START_S + at_s,
        resumed=resumed,
        params={"model.architecture": "mlp", "train.learning_rate": 0.01, **params},
        tags={"seed": "7", "git_commit": "c0ffee"},
        data=DATA,
        model=MODEL,
    )


def epoch(number: int, accuracy: float, loss: float = 1.0) -> EpochMetrics:
    values = {"val_accuracy": accuracy, "train_loss": loss}
    return EpochMetrics(number, values, START_S + number)


def ended(
    state: TrialState, best: EpochMetrics | None = None, cause: str = "", details: str = ""
) -> Ended:
    return Ended(START_S + 10, Outcome(state, best, cause, details))


def two_complete_trials(store: Store) -> None:
    for number in (0, 1):
        store.append(
            number,
            started(),
            epoch(1, 0.5),
            epoch(2, 0.75),
            ended(TrialState.COMPLETE, epoch(2, 0.75)),
        )


def write_weights(
    store: Store, number: int, model: ModelConfig, data: DataInfo = DATA
) -> torch.nn.Module:
    torch.manual_seed(number)
    net = build_for(model, data)
    store.paths.trial_dir(number).mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), store.paths.model(number))
    return net.eval()


def complete_trial(
    store: Store,
    architecture: str,
    params: Mapping[str, Any],
    *,
    number: int = 0,
    data: DataInfo = DATA,
) -> torch.nn.Module:
    model = ModelConfig(architecture=architecture, params=params)
    start = replace(started(), model=model, data=data)
    store.append(number, start, epoch(1, 0.5), ended(TrialState.COMPLETE, epoch(1, 0.5)))
    return write_weights(store, number, model, data)


def logged_models(store: Store) -> list[LoggedModel]:
    experiment = store.client.get_experiment_by_name("digits")
    assert experiment is not None
    return list(store.client.search_logged_models([experiment.experiment_id]))
