import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial

from sweeper.config.reader import parse_study
from sweeper.errors import StudyError
from sweeper.study.attributes import Attr
from sweeper.study.running_trial import RunningTrial
from sweeper.study.samplers.draw import ask, open_sampler
from sweeper.study.samplers.seeds import trial_seed
from sweeper.study.study import SweepStudy
from sweeper.trial import TrialState
from tests.support.sweep_studies import (
    begin_in_memory,
    claim_trial,
    epoch,
    raises,
    reports,
    run_all,
    run_trial,
)

#: Four settings in all.
FOUR: Mapping[str, Any] = {
    "data": {"name": "digits", "batch_size": {"choices": [32, 64]}},
    "train": {"optimizer": {"choices": ["sgd", "adamw"]}},
}
RATE = "train.learning_rate"


def reseeding(sampler: str) -> dict[str, str]:
    """That sampler, for trials that may have the settings of others."""
    return {"name": sampler, "duplicates": "reseed"}


def settings(study: SweepStudy) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials() if trial.state.is_finished()]


def drawn_by(study: SweepStudy) -> list[str | None]:
    return [
        trial.user_attrs.get(Attr.DRAWN_BY)
        for trial in study.trials()
        if trial.state.is_finished()
    ]


def claimed(study: SweepStudy) -> FrozenTrial:
    trial = claim_trial(study)
    assert trial is not None
    return trial


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
    # With this seed the second trial draws what the first one had.
    failed = begin_in_memory(tmp_path / "failed", **FOUR, seed=2)
    run_trial(failed, lambda claim: claim.report(epoch(1, 1 / 0)))
    complete = begin_in_memory(tmp_path / "complete", **FOUR, seed=2)
    run_trial(complete, reports(0.5))
    for study in (failed, complete):
        run_trial(study, reports(0.5))
    assert failed.trials()[1].params == failed.trials()[0].params
    assert complete.trials()[1].params != complete.trials()[0].params


def test_forbidding_everything_is_told(tmp_path: Path) -> None:
    text = "\n".join(
        [
            "name: small",
            "budget: {trials: 1}",
            "data: {name: digits}",
            "model: {architecture: mlp}",
            "train: {optimizer: {choices: [sgd, adamw]}, nesterov: {choices: [true, false]}}",
            "forbid: [{train.optimizer: sgd}, {train.optimizer: adamw, train.nesterov: true}]",
        ]
    )
    spec = parse_study(text, Path("studies/none.yaml"))
    study = begin_in_memory(tmp_path, **FOUR)
    trial = claimed(study)
    trial.system_attrs = {"fixed_params": {"train.nesterov": True}}
    sampler = open_sampler(
        "random",
        spec,
        storage=study.storage,
        study_id=study.study_id,
        pruner=study.pruner.built,
    )
    with pytest.raises(StudyError) as caught:
        ask(sampler, spec, trials=[trial], history=[], is_tried=lambda _: False)
    assert str(caught.value) == (
        "studies/none.yaml:6: forbid: leaves nothing to draw beside train.nesterov=True: "
        "thousands of uniform draws were all forbidden; loosen it"
    )


@pytest.mark.parametrize(
    ("fixed", "told"),
    [
        ({"train.optimizer": "adam"},
         "train.optimizer, which must lie within {choices: [sgd, adamw]}, got 'adam'"),
        ({RATE: "high"}, "train.learning_rate, which must lie within {low: 0.001, high: 0.1}, "
         "got 'high'"),
        ({RATE: 7.0}, "train.learning_rate, which must lie within {low: 0.001, high: 0.1}, got 7"),
    ],
)  # fmt: skip
def test_a_value_enqueued_by_optuna_that_its_range_has_not_is_told(
    tmp_path: Path, fixed: Mapping[str, Any], told: str
) -> None:
    train = {"optimizer": {"choices": ["sgd", "adamw"]},
             "learning_rate": {"low": 0.001, "high": 0.1}}  # fmt: skip
    study = begin_in_memory(tmp_path, train=train, budget={"trials": 1})
    study.handle().enqueue_trial(dict(fixed))
    run_trial(study, raises(ValueError("makes room for one more")))
    enqueued = claimed(study)
    message = f"trial 1 was enqueued with {told}"
    with pytest.raises(StudyError, match=re.escape(message)):
        study.draw([enqueued])


def test_a_value_that_somebody_wrote_into_a_trial_names_no_code(tmp_path: Path) -> None:
    model = {"architecture": {"choices": ["mlp", "nets:build"]}}
    study = begin_in_memory(tmp_path, model=model, budget={"trials": 1})
    choices = CategoricalDistribution(["mlp", "nets:build", "subprocess:call"])
    study.storage.set_trial_param(study.trial_id(0), "model.architecture", 2, choices)
    message = (
        "trial 0 has in the storage model.architecture, which must lie within "
        "{choices: [mlp, 'nets:build']}, got 'subprocess:call'"
    )
    with pytest.raises(StudyError, match=re.escape(message)):
        study.draw([claimed(study)])


def test_what_drew_each_trial_is_kept(tmp_path: Path) -> None:
    both = {"data.batch_size": 32, "train.optimizer": "sgd"}
    study = begin_in_memory(
        tmp_path,
        **FOUR,
        enqueue=[both, {"data.batch_size": 64}],
        budget={"trials": 5},
        sampler=reseeding("random"),
    )
    run_all(study, reports(0.5))
    assert settings(study)[0] == both
    assert settings(study)[1]["data.batch_size"] == 64
    names = drawn_by(study)
    assert names[:2] == ["enqueue", "random"]
    assert set(names[2:]) <= {"random", "fallback"}
    assert names[4] == "fallback"  # a repeat, as all four were tried


def test_points_of_a_grid_are_the_grids(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, **FOUR, sampler={"name": "grid"}, budget={})
    run_all(study, reports(0.5))
    assert drawn_by(study) == ["grid"] * 4


def test_where_nothing_is_searched_nothing_draws(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, train={"epochs": 1}, budget={"trials": 1})
    run_all(study, reports(0.5))
    assert drawn_by(study) == [None]


def test_a_resumed_trial_keeps_what_it_was_drawn_with_and_by(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, sampler={"name": "auto"})
    state = run_trial(study, reports(0.5), is_stopping=lambda: True)
    assert state == TrialState.WAITING
    before = study.trials()[0]
    study.sampler.change("random", "to see that it is not asked")
    drawn = []
    run_trial(study, lambda claim: drawn.append(claim.drawn_by))
    after = study.trials()[0]
    assert after.params == before.params
    assert drawn == [after.user_attrs[Attr.DRAWN_BY]] == ["default"]


def test_of_a_trial_that_an_older_version_drew_it_is_not_known_by_what(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    space = FloatDistribution(0.001, 0.1, log=True)
    study.storage.set_trial_param(study.trial_id(0), RATE, 0.01, space)
    run_trial(study, reports(0.5))
    assert settings(study) == [{RATE: 0.01}]
    assert drawn_by(study) == [None]


def test_a_process_that_died_before_it_wrote_the_settings_leaves_the_word_to_the_next(
    tmp_path: Path,
) -> None:
    study = begin_in_memory(tmp_path)
    study.storage.set_trial_user_attr(study.trial_id(0), Attr.DRAWN_BY, "sobol")
    run_trial(study, reports(0.5))
    assert drawn_by(study) == ["random"]


def test_what_drew_it_costs_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = begin_in_memory(tmp_path)
    written: list[object] = []
    write = study.storage.set_trial_user_attr

    def note(trial_id: int, key: str, value: object) -> None:
        written.append(key)
        write(trial_id, key, value)

    monkeypatch.setattr(study.storage, "set_trial_user_attr", note)
    run_trial(study, reports(0.5), is_stopping=lambda: True)
    run_trial(study, reports(0.5))
    assert written.count(Attr.DRAWN_BY) == 1
