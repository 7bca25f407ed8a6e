from pathlib import Path
from typing import Any

import pytest
from optuna.pruners import NopPruner

from sweeper.config.study import PrunerSpec
from sweeper.study.pruners import Epochs, PrunerUse, build_pruner, explain_pruner, min_epochs
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.trial import EpochMetrics, TrialState
from tests.support.sweep_studies import begin_in_memory, reports, run_trial


def rungs(study: SweepStudy, *trials: tuple[float, ...]) -> list[tuple[TrialState, int]]:
    """Run trials one after another; state and epochs of each."""
    return [
        (run_trial(study, reports(*values)), study.trials()[number].last_step or 0)
        for number, values in enumerate(trials)
    ]


def test_asha_lets_the_best_third_of_each_rung_go_on(tmp_path: Path) -> None:
    pruner = {"name": "asha", "min_epochs": 1, "reduction_factor": 3}
    train = {"epochs": 9, "learning_rate": {"low": 0.001, "high": 0.1}}
    study = begin_in_memory(tmp_path, pruner=pruner, train=train)
    # Rungs at 1 and 3; of n values there, the best max(1, n // 3) go on. Epoch 9 is the last.
    assert rungs(
        study,
        (0.50,) * 9,  # 1: first of 1; 3: first of 1
        (0.40,) * 9,  # 1: second of 2
        (0.60,) * 9,  # 1: first of 3; 3: first of 2
        (0.55,) * 9,  # 1: second of 4
        (0.70,) * 9,  # 1: first of 5; 3: first of 3
        (0.45,) * 9,  # 1: fifth of 6, two go on
        (0.65, 0.1, 0.58, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9),  # 1: second of 7; 3: third of 4
    ) == [
        (TrialState.COMPLETE, 9),
        (TrialState.PRUNED, 1),
        (TrialState.COMPLETE, 9),
        (TrialState.PRUNED, 1),
        (TrialState.COMPLETE, 9),
        (TrialState.PRUNED, 1),
        (TrialState.PRUNED, 3),
    ]


@pytest.mark.parametrize(
    ("pruner", "trials", "ends"),
    [
        # Two to start with; then 0.59 lies below the median 0.6 of 0.7 and 0.5, 0.61 does not.
        (
            {"name": "median", "startup_trials": 2, "min_epochs": 1},
            [(0.7,) * 3, (0.5,) * 3, (0.59,) * 3, (0.61,) * 3],
            [3, 3, 1, 3],
        ),
        # The upper quartile of 0.2, 0.4, 0.6, 0.8 is 0.65; of these and 0.66 it is 0.66.
        (
            {"name": "percentile", "percentile": 25.0, "startup_trials": 4, "min_epochs": 2},
            [(0.2,) * 3, (0.4,) * 3, (0.6,) * 3, (0.8,) * 3, (0.64,) * 3, (0.66,) * 3],
            [3, 3, 3, 3, 2, 3],
        ),
        # Two epochs after the best one, a third one without a better value is too many.
        (
            {"name": "patient", "patience": 2},
            [(0.5, 0.4, 0.4, 0.4, 0.6), (0.5, 0.4, 0.4, 0.6, 0.6), (0.1, 0.2, 0.3, 0.4, 0.5)],
            [4, 5, 5],
        ),
        ({"name": "none"}, [(0.9,) * 3, (0.1,) * 3, (0.0,) * 3], [3, 3, 3]),
    ],
)
def test_pruners_end_the_trials_they_should(
    tmp_path: Path, pruner: dict[str, Any], trials: list[tuple[float, ...]], ends: list[int]
) -> None:
    train = {"epochs": len(trials[0]), "learning_rate": {"low": 0.001, "high": 0.1}}
    study = begin_in_memory(tmp_path, pruner=pruner, train=train)
    assert [epochs for _, epochs in rungs(study, *trials)] == ends
    for trial, epochs in zip(study.trials(), ends, strict=False):
        assert (trial.state.name == "PRUNED") == (epochs < len(trials[0]))


def test_what_is_reported_beside_the_objective_is_nothing_to_a_pruner(tmp_path: Path) -> None:
    pruner = {"name": "median", "startup_trials": 1, "min_epochs": 1}
    study = begin_in_memory(tmp_path, pruner=pruner)
    run_trial(study, reports(0.5))

    def worse(claim: RunningTrial) -> None:
        claim.report(EpochMetrics(1, {"train_loss": 9.0, "val_accuracy": 0.4}, 1.0))

    assert run_trial(study, worse) == TrialState.PRUNED
    assert study.trials()[1].intermediate_values == {1: 0.4}


@pytest.mark.parametrize(
    ("n_epochs", "first"),
    [(1, 1), (2, 2), (4, 2), (9, 2), (30, 2), (31, 3), (45, 3), (52, 4), (200, 14)],
)
def test_auto_prunes_nothing_in_the_first_fifteenth_of_the_longest_trial(
    n_epochs: int, first: int
) -> None:
    assert min_epochs(n_epochs) == first


AUTO = "auto takes 1/15 of the longest trial, at least 2"


@pytest.mark.parametrize(
    ("spec", "epochs", "expected"),
    [
        (PrunerSpec(), Epochs(27, ""),
         PrunerUse("asha", 2, 27, f"first rung after epoch 2 of 27, {AUTO}")),
        (PrunerSpec(min_epochs=5), Epochs(27, ""),
         PrunerUse("asha", 5, 27, "first rung after epoch 5 of 27, as the study file says")),
        (PrunerSpec(min_epochs=5), None,
         PrunerUse("asha", 5, None, "first rung after epoch 5, as the study file says")),
        (PrunerSpec(name="median"), Epochs(9, "trial 0 planned 9"),
         PrunerUse("median", 2, 9,
                   f"no trial ends before epoch 2 of 9, {AUTO}; trial 0 planned 9")),
        (PrunerSpec(name="hyperband", min_epochs=10), Epochs(3, "trial 0 planned 3"),
         PrunerUse("hyperband", 10, 3, "nothing is pruned, as min_epochs is 10 and the longest "
                   "trial has 3 epochs; trial 0 planned 3")),
        (PrunerSpec(name="patient"), Epochs(9, ""),
         PrunerUse("patient", None, None, "a trial ends after 3 epochs without improvement")),
        (PrunerSpec(name="none"), Epochs(9, ""),
         PrunerUse("none", None, None, "nothing is pruned")),
        (PrunerSpec(name="hyperband", min_epochs=2), None,
         PrunerUse("hyperband", None, None, "nothing is pruned until a trial is complete, as "
                   "nobody says how many epochs there are: give the file train.epochs, or let "
                   "train.function call trial.plan_epochs(n)")),
    ],
)  # fmt: skip
def test_which_pruner_it_is_and_from_when_on_is_said(
    spec: PrunerSpec, epochs: Epochs | None, expected: PrunerUse
) -> None:
    assert explain_pruner(spec, epochs) == expected


def test_hyperband_with_trials_shorter_than_its_first_rung_prunes_nothing() -> None:
    built = build_pruner(PrunerSpec(name="hyperband", min_epochs=10), Epochs(3, "trial 0"))
    assert isinstance(built, NopPruner)
