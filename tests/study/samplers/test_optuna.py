from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.trial import TrialState
from tests.support.sweep_studies import (
    CONDITIONAL,
    begin_in_memory,
    epoch,
    reports,
    run_all,
    run_trial,
)

SAMPLERS = ("gp", "tpe", "random", "qmc", "cmaes", "nsga2")
TWO_METRICS = {"metric": ["val_accuracy", "val_loss"], "direction": ["maximize", "minimize"]}
FLAT: Mapping[str, Any] = {
    "data": {"name": "digits", "batch_size": {"choices": [16, 32, 64]}},
    "model": {"architecture": "mlp", "depth": {"low": 1, "high": 4}},
}


def begin(folder: Path, sampler: str, **changes: Any) -> SweepStudy:
    return begin_in_memory(folder, **{**FLAT, **changes}, sampler={"name": sampler})


def two_metrics(claim: RunningTrial) -> None:
    claim.report(epoch(1, 0.5 + 0.01 * claim.number, val_loss=1.0 + claim.number % 4))


def settings(study: SweepStudy) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials() if trial.state.is_finished()]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("space", ["flat", "conditional"])
def test_every_sampler_draws_valid_values(tmp_path: Path, sampler: str, space: str) -> None:
    changes = {"model": CONDITIONAL} if space == "conditional" else {}
    study = begin(tmp_path, sampler, budget={"trials": 15}, **changes)
    while study.n_finished() < study.goal:
        run_trial(study, lambda claim: claim.report(epoch(3, 0.5 + 0.01 * claim.number)))
    for params in settings(study):
        shared = {"data.batch_size", "train.learning_rate"}
        depth, architecture = "model.depth", params.get("model.architecture", "mlp")
        branches = {
            "mlp": {"model.architecture.mlp.depth", "model.architecture.mlp.width"},
            "cnn": {"model.architecture.cnn.channels"},
        }
        if space == "conditional":
            depth = "model.architecture.mlp.depth"
            assert params.keys() == shared | {"model.architecture"} | branches[architecture]
        else:
            assert params.keys() == shared | {"model.depth"}
        assert params["data.batch_size"] in (16, 32, 64)
        assert 0.001 <= params["train.learning_rate"] <= 0.1
        assert params.get(depth, 1) in range(1, 9)
    # gp may well ask for the very end of a range again.
    assert len({params["train.learning_rate"] for params in settings(study)}) >= 10


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random", "qmc", "nsga2"])
def test_several_metrics_are_drawn_for(tmp_path: Path, sampler: str) -> None:
    study = begin(tmp_path, sampler, budget={"trials": 15}, objective=TWO_METRICS)
    run_all(study, two_metrics)
    assert study.counts() == {TrialState.COMPLETE: 15}


def test_a_diverged_trial_stops_no_sampler_of_several_metrics(tmp_path: Path) -> None:
    study = begin(tmp_path, "tpe", budget={"trials": 15}, objective=TWO_METRICS)
    run_trial(study, lambda claim: claim.report(epoch(1, float("nan"), val_loss=1.0)))
    run_all(study, two_metrics)
    assert study.counts() == {TrialState.COMPLETE: 14, TrialState.DIVERGED: 1}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_same_seed_and_history_same_draws(tmp_path: Path, sampler: str) -> None:
    drawn = []
    for folder, seed in (("a", 7), ("b", 7), ("c", 8)):
        study = begin(tmp_path / folder, sampler, budget={"trials": 12}, seed=seed)
        while study.n_finished() < study.goal:
            run_trial(study, lambda claim: claim.report(epoch(3, 0.02 * (claim.number % 5))))
        drawn.append(settings(study))
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_qmc_spreads_the_values_within_a_branch(tmp_path: Path) -> None:
    study = begin(tmp_path, "qmc", budget={"trials": 24}, model=CONDITIONAL)
    run_all(study, reports(0.5, 0.5, 0.5))
    depths = {params.get("model.architecture.mlp.depth") for params in settings(study)}
    assert len(depths - {None}) >= 4
