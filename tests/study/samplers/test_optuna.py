import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sweeper.config.reader import parse_study
from sweeper.errors import StudyError
from sweeper.study.running_trial import RunningTrial
from sweeper.study.samplers.optuna import choose_sampler, draw_config
from sweeper.study.samplers.seeds import trial_seed
from sweeper.study.study import SweepStudy
from sweeper.trial import TrialState
from tests.support.sweep_studies import (
    CONDITIONAL,
    begin_in_memory,
    claim_trial,
    epoch,
    reports,
    run_all,
    run_trial,
    spec_of,
)

SAMPLERS = ("gp", "tpe", "random", "qmc", "cmaes", "nsga2")
TWO_METRICS = {"metric": ["val_accuracy", "val_loss"], "direction": ["maximize", "minimize"]}
FLAT: Mapping[str, Any] = {
    "data": {"name": "digits", "batch_size": {"choices": [16, 32, 64]}},
    "model": {"architecture": "mlp", "depth": {"low": 1, "high": 4}},
}
#: Four settings in all.
FOUR: Mapping[str, Any] = {
    "data": {"name": "digits", "batch_size": {"choices": [32, 64]}},
    "train": {"optimizer": {"choices": ["sgd", "adamw"]}},
}


def begin(folder: Path, sampler: str, **changes: Any) -> SweepStudy:
    return begin_in_memory(folder, **{**FLAT, **changes}, sampler={"name": sampler})


def two_metrics(claim: RunningTrial) -> None:
    claim.report(epoch(1, 0.5 + 0.01 * claim.number, val_loss=1.0 + claim.number % 4))


def settings(study: SweepStudy) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials() if trial.state.is_finished()]


@pytest.mark.parametrize(
    ("changes", "choice"),
    [
        (
            {"budget": {"trials": 200}},
            ("gp", "a flat space and at most 200 trials"),
        ),
        (
            {"budget": {"trials": 201}},
            ("tpe", "more than 200 trials, where gp's asking gets slow"),
        ),
        (
            {"model": CONDITIONAL},
            ("tpe", "the space is conditional; gp would see only what all branches share"),
        ),
        ({"train": {"epochs": 1}}, ("random", "nothing is searched")),
        ({"sampler": {"name": "qmc"}}, ("qmc", "named in the study file")),
    ],
)
def test_auto_takes_the_sampler_that_fits(
    tmp_path: Path, changes: dict[str, Any], choice: tuple[str, str]
) -> None:
    assert choose_sampler(spec_of(tmp_path, **{"sampler": {"name": "auto"}, **changes})) == choice


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("space", ["flat", "conditional"])
def test_every_sampler_draws_valid_values(tmp_path: Path, sampler: str, space: str) -> None:
    changes = {"model": CONDITIONAL} if space == "conditional" else {}
    study = begin(tmp_path, sampler, budget={"trials": 15}, **changes)
    while study.n_finished() < study.goal:
        run_trial(study, lambda claim: claim.report(epoch(3, 0.5 + 0.01 * claim.number)))
    for params in settings(study):
        shared = {"data.batch_size", "train.learning_rate"}
        depth, architecture = "model.depth", params.get("model.architecture")
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


# A point that was drawn already is drawn anew up to ten times. With random the fourth of four
# points is missed by all eleven draws once in 24 studies, (3/4)**11, so the seeds are chosen:
# for each of them, all draws being functions of seed and history, the four are found.
@pytest.mark.parametrize(("sampler", "seed"), [("random", 7), ("tpe", 7), ("nsga2", 7)])
def test_four_points_are_all_tried_before_one_is_repeated(
    tmp_path: Path, sampler: str, seed: int
) -> None:
    study = begin_in_memory(tmp_path, **FOUR, sampler={"name": sampler}, seed=seed)
    for _ in range(5):
        run_trial(study, reports(0.5))
    first, fifth = settings(study)[:4], settings(study)[4]
    assert len({tuple(sorted(params.items())) for params in first}) == 4
    assert fifth in first


def test_a_repeated_setting_runs_with_another_seed(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, train={"optimizer": {"choices": ["sgd"]}})
    seeds = []

    def body(claim: RunningTrial) -> None:
        config = claim.draw()
        seeds.append(config.seed)
        claim.report(epoch(1, 0.5))

    run_trial(study, body)
    run_trial(study, body)
    assert settings(study) == [{"train.optimizer": "sgd"}] * 2
    assert seeds == [trial_seed(7, 0), trial_seed(7, 1)]


def test_the_setting_of_a_failed_trial_may_be_drawn_again(tmp_path: Path) -> None:
    # With this seed the second trial draws first what the first one had.
    failed = begin_in_memory(tmp_path / "failed", **FOUR, seed=2)
    run_trial(failed, lambda claim: claim.report(epoch(1, 1 / 0)))
    complete = begin_in_memory(tmp_path / "complete", **FOUR, seed=2)
    run_trial(complete, reports(0.5))
    for study in (failed, complete):
        run_trial(study, reports(0.5))
    assert failed.trials()[1].params == failed.trials()[0].params
    assert complete.trials()[1].params != complete.trials()[0].params


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_forbidden_settings_are_never_drawn(tmp_path: Path, sampler: str) -> None:
    forbid = [
        {"train.optimizer": "sgd", "data.batch_size": 32},
        {"train.optimizer": "sgd", "data.batch_size": 64},
        {"train.optimizer": "adamw", "data.batch_size": 32},
    ]
    study = begin_in_memory(tmp_path, **FOUR, forbid=forbid, sampler={"name": sampler})
    run_all(study, reports(0.5))
    assert settings(study) == [{"train.optimizer": "adamw", "data.batch_size": 64}] * 10


def test_a_sampler_that_draws_forbidden_settings_only_is_replaced_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = list(range(1, 41))
    model = {"architecture": "mlp", "width": {"choices": options}}
    forbid = [{"model.width": width} for width in options[1:]]
    study = begin_in_memory(
        tmp_path, model=model, train={"epochs": 1}, forbid=forbid, budget={"trials": 1}, seed=1
    )
    with caplog.at_level(logging.WARNING, logger="sweeper"):
        run_all(study, reports(0.5))
    assert settings(study) == [{"model.width": 1}]
    assert caplog.messages == [
        "trial 0: the random sampler draws forbidden settings only; drawing uniformly"
    ]


def test_forbidding_everything_is_told(tmp_path: Path) -> None:
    text = "\n".join(
        [
            "budget: {trials: 1}",
            "data: {name: digits}",
            "model: {architecture: mlp}",
            "train: {optimizer: {choices: [sgd, adamw]}}",
            "forbid: [{train.optimizer: sgd}, {train.optimizer: adamw}]",
        ]
    )
    spec = parse_study(text, Path("studies/none.yaml"))
    study = begin_in_memory(tmp_path, **FOUR)
    trial = claim_trial(study, "worker")
    assert trial is not None
    with pytest.raises(StudyError) as caught:
        draw_config(study.handle(), trial, spec, sampler_name="random", is_tried=lambda _: False)
    assert str(caught.value) == (
        "studies/none.yaml:5: forbid: leaves nothing to draw: 1000 uniform draws were all "
        "forbidden; loosen it"
    )


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
            {"name": "median", "startup_trials": 2},
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


def test_hyperband_prunes_once_it_knows_how_long_a_trial_is(tmp_path: Path) -> None:
    train = {"epochs": 9, "learning_rate": {"low": 0.001, "high": 0.1}}
    study = begin_in_memory(
        tmp_path, pruner={"name": "hyperband"}, train=train, budget={"trials": 20}
    )
    ends = rungs(study, *[(1.0 - 0.01 * number,) * 9 for number in range(20)])
    assert ends[0] == (TrialState.COMPLETE, 9)
    assert {TrialState.PRUNED, TrialState.COMPLETE} == {state for state, _ in ends}
