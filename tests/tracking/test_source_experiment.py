"""An experiment in MLflow as a source for a study, by whatever its runs were made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.config.reader import parse_study
from sweeper.config.study import StudySpec
from sweeper.errors import SpecError, TrackerError
from sweeper.study.source_trials import Source
from sweeper.tracking.source_experiment import read_source_experiment
from sweeper.trial import TrialState
from tests.support.sweep_studies import PRUNED, plain_study, raises, reports
from tests.support.tracked_study import Store
from tests.support.tracked_sweeps import begin_sweep


def spec_of(experiment: str, **changes: Any) -> StudySpec:
    study = plain_study(name="later", warm_start={"from": {"mlflow": experiment}}, **changes)
    return parse_study(yaml.safe_dump(study, sort_keys=False), Path("later.yaml"))


def log_run(
    store: Store, experiment_id: str, lr: float, metrics: Mapping[str, float], status: str
) -> None:
    """As a script with a few mlflow calls does it."""
    run_id = store.client.create_run(experiment_id).info.run_id
    store.client.log_param(run_id, "lr", lr)
    for name, value in metrics.items():
        store.client.log_metric(run_id, name, 0.1, step=1)
        store.client.log_metric(run_id, name, value, step=2)
    if status != "RUNNING":
        store.client.set_terminated(run_id, status)


def test_runs_of_others_with_their_params_and_last_metrics(store: Store) -> None:
    experiment_id = store.client.create_experiment("of others")
    log_run(store, experiment_id, 0.01, {"acc": 0.7, "best_acc": 0.9}, "FINISHED")
    log_run(store, experiment_id, 0.02, {"acc": 0.6}, "KILLED")
    log_run(store, experiment_id, 0.03, {}, "FAILED")
    log_run(store, experiment_id, 0.04, {"acc": 0.5}, "RUNNING")
    source = read_source_experiment(spec_of("of others"), store.paths)
    assert source.name == "runs of of others in MLflow"
    assert [trial.state for trial in source.trials] == [
        TrialState.COMPLETE, TrialState.FAILED, TrialState.FAILED,
    ]  # fmt: skip
    assert source.trials[0].settings == {"lr": "0.01"}
    assert source.trials[0].metrics == {"acc": 0.7, "best_acc": 0.9}


def test_runs_of_sweepers_own_with_constants_and_what_the_best_epoch_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sweep = begin_sweep(tmp_path, trials=4)
    sweep.run(reports(0.5, 0.75, 0.25))
    sweep.run(PRUNED)
    sweep.run(reports(float("nan")))
    sweep.run(raises(ValueError("no")))
    sweep.send()
    source: Source = read_source_experiment(spec_of("small"), sweep.paths)
    assert [trial.state for trial in source.trials] == [
        TrialState.COMPLETE, TrialState.PRUNED, TrialState.DIVERGED, TrialState.FAILED,
    ]  # fmt: skip
    first = source.trials[0]
    assert first.metrics["val_accuracy"] == 0.75
    assert float(str(first.settings["train.learning_rate"])) == pytest.approx(
        sweep.study.trials()[0].params["train.learning_rate"]
    )
    assert first.settings.items() >= {"train.epochs": 3, "train.optimizer": "adamw"}.items()


def test_more_than_a_page_of_runs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeper.tracking.source_experiment._PAGE", 2)
    monkeypatch.setattr("sweeper.tracking.source_experiment._MOST_READ", 3)
    experiment_id = store.client.create_experiment("many")
    for n in range(5):
        log_run(store, experiment_id, n / 10, {"acc": 0.5}, "FINISHED")
    source = read_source_experiment(spec_of("many"), store.paths)
    assert [trial.settings["lr"] for trial in source.trials] == ["0.1", "0.2", "0.3", "0.4"]


def test_an_experiment_that_is_not_there(store: Store) -> None:
    store.client.create_experiment("others")
    with pytest.raises(SpecError) as caught:
        read_source_experiment(spec_of("other"), store.paths)
    assert "warm_start.from: MLflow has no experiment 'other'; did you mean 'others'?" in str(
        caught.value
    )


def test_a_store_that_is_away_is_said(store: Store) -> None:
    (file := store.paths.root / "file").touch()
    spec = spec_of("x", tracking={"uri": f"sqlite:///{file}/mlflow.db"})
    with pytest.raises(TrackerError, match="MLflow cannot be used"):
        read_source_experiment(spec, store.paths)
