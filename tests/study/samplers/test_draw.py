import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sweeper.config.reader import parse_study
from sweeper.errors import StudyError
from sweeper.study.running_trial import RunningTrial
from sweeper.study.samplers.draw import draw_config
from sweeper.study.samplers.seeds import trial_seed
from sweeper.study.study import SweepStudy
from tests.support.sweep_studies import (
    begin_in_memory,
    claim_trial,
    epoch,
    reports,
    run_all,
    run_trial,
)

SAMPLERS = ("gp", "tpe", "random", "qmc", "cmaes", "nsga2")
#: Four settings in all.
FOUR: Mapping[str, Any] = {
    "data": {"name": "digits", "batch_size": {"choices": [32, 64]}},
    "train": {"optimizer": {"choices": ["sgd", "adamw"]}},
}


def reseeding(sampler: str) -> dict[str, str]:
    """That sampler, for trials that may have the settings of others."""
    return {"name": sampler, "duplicates": "reseed"}


def settings(study: SweepStudy) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials() if trial.state.is_finished()]


# A point that was drawn already is drawn anew up to ten times. With random the fourth of four
# points is missed by all eleven draws once in 24 studies, (3/4)**11, so the seeds are chosen:
# for each of them, all draws being functions of seed and history, the four are found.
@pytest.mark.parametrize(("sampler", "seed"), [("random", 7), ("tpe", 7), ("nsga2", 7)])
def test_four_points_are_all_tried_before_one_is_repeated(
    tmp_path: Path, sampler: str, seed: int
) -> None:
    study = begin_in_memory(tmp_path, **FOUR, sampler=reseeding(sampler), seed=seed)
    for _ in range(5):
        run_trial(study, reports(0.5))
    first, fifth = settings(study)[:4], settings(study)[4]
    assert len({tuple(sorted(params.items())) for params in first}) == 4
    assert fifth in first


def test_a_repeated_setting_runs_with_another_seed(tmp_path: Path) -> None:
    train = {"optimizer": {"choices": ["sgd"]}}
    study = begin_in_memory(tmp_path, train=train, sampler=reseeding("random"))
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
    study = begin_in_memory(tmp_path, **FOUR, forbid=forbid, sampler=reseeding(sampler))
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
