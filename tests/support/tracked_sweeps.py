"""A small study in a real storage and a real MLflow store, as a command leaves it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from sweeper.config.reader import load_study
from sweeper.config.render import render_study
from sweeper.config.settings import ModelConfig
from sweeper.models.build import build_model
from sweeper.paths import RunPaths
from sweeper.study.conclude import conclude
from sweeper.study.create import create_study
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.timing import TimeLedger
from sweeper.tracking.sync import build_mirror, send_all
from sweeper.trial import DataInfo, TrialState
from tests.support.mlflow_store import copy_empty_database
from tests.support.sweep_studies import Body, claim_trial

DATA = DataInfo("digits", "0123456789abcdef", (1, 8, 8), 10, 1500, 297, (0.3,), (0.4,))
MODEL = ModelConfig(architecture="mlp", params={"depth": 1, "width": 8})
TAGS = {"version.torch": "2.6.0", "git_commit": "c0ffee", "seed": "7"}


@dataclass(frozen=True)
class TrackedSweep:
    """The study file in its folder, and everything that came of it."""

    file: Path
    study: SweepStudy

    @property
    def paths(self) -> RunPaths:
        return self.study.paths

    @property
    def root(self) -> Path:
        return self.paths.root

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.paths.mlflow_db}")

    def run(self, body: Body, *, model: ModelConfig | None = None) -> TrialState:
        """One trial, from its claim to its end, as a worker does it."""
        trial = claim_trial(self.study)
        assert trial is not None, "no trial waits"
        with RunningTrial(
            self.study, trial, is_stopping=lambda: False, ledger=TimeLedger()
        ) as held:

            def whole() -> Iterator[None]:
                held.draw()
                held.start(DATA if model else None, model, params={}, tags=TAGS)
                body(held)
                yield

            if model:
                self.write_weights(held.number, model)
            return conclude(held, whole())

    def leave(self, body: Body) -> int:
        """A worker that is gone in the middle of a trial; the trial's number."""
        trial = claim_trial(self.study, "gone")
        assert trial is not None, "no trial waits"
        with RunningTrial(
            self.study, trial, is_stopping=lambda: False, ledger=TimeLedger()
        ) as held:
            held.draw()
            held.start(None, None, params={}, tags=TAGS)
            body(held)
        return held.number

    def write_weights(self, number: int, model: ModelConfig) -> None:
        net = build_model(model.architecture, DATA.input_shape, DATA.n_outputs, **model.params)
        self.paths.trial_dir(number).mkdir(parents=True, exist_ok=True)
        torch.save(net.state_dict(), self.paths.model(number))

    def send(self) -> None:
        """Send everything, as the end of a command does."""
        mirror = build_mirror(self.study.spec, self.paths, TAGS, references=(), is_start=True)
        send_all(mirror, self.study)

    def runs(self, kind: str = "trial") -> list[Run]:
        """MLflow runs of that kind, by trial number."""
        client = self.client
        experiment = client.get_experiment_by_name(self.paths.study)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], f"tags.`sweeper.kind` = '{kind}'")
        return sorted(runs, key=lambda run: int(run.data.tags.get("sweeper.trial", -1)))

    def steps(self, number: int, metric: str = "val_accuracy") -> list[int]:
        """Epochs of which a trial's run has a point."""
        run = self.runs()[number]
        return [point.step for point in self.client.get_metric_history(run.info.run_id, metric)]


def begin_sweep(folder: Path, *, trials: int, **changes: Any) -> TrackedSweep:
    """Begin a study of so many trials, none of them run yet."""
    plain: Mapping[str, Any] = {
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        "budget": {"trials": trials},
        "seed": 7,
        "sampler": {"name": "random"},
        "pruner": {"name": "none"},
        "data": {"name": "digits"},
        "model": {"architecture": "mlp"},
        "train": {"epochs": 3, "learning_rate": {"low": 0.001, "high": 0.1, "log": True}},
        "tracking": {"log_models": "completed"},
    }
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump({**plain, **changes}, sort_keys=False))
    sweep = open_sweep(folder)
    sweep.study.queue.top_up()
    sweep.paths.resolved_spec.write_text(render_study(sweep.study.spec))
    copy_empty_database(sweep.paths.mlflow_db)
    return sweep


def open_sweep(folder: Path) -> TrackedSweep:
    """The study whose file lies in a folder, with all that is there already."""
    file = folder / "small.yaml"
    spec = load_study(file)
    return TrackedSweep(file, create_study(spec, RunPaths(folder / "mlruns", spec.name)))
