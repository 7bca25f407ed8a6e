from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState as OptunaState

from sweeper.study.attributes import Attr
from sweeper.study.running_trial import RunningTrial
from sweeper.study.samplers.optuna import to_distribution
from sweeper.study.samplers.optuna_sampler import Excerpt
from sweeper.study.study import SweepStudy
from sweeper.trial import TrialState
from tests.support.sweep_studies import (
    CONDITIONAL,
    begin_in_memory,
    claim_trial,
    epoch,
    numbers,
    reports,
    run_all,
    run_trial,
)

TWO_METRICS = {"metric": ["val_accuracy", "val_loss"], "direction": ["maximize", "minimize"]}
FLAT: Mapping[str, Any] = {
    "data": {"name": "digits", "batch_size": {"choices": [16, 32, 64]}},
    "model": {"architecture": "mlp", "depth": {"low": 1, "high": 4}},
}
WIDTHS = [8, 16, 32, 64, 128, 256, 512, 1024]


def begin(folder: Path, sampler: str, **changes: Any) -> SweepStudy:
    return begin_in_memory(folder, **{**FLAT, **changes}, sampler={"name": sampler})


def two_metrics(claim: RunningTrial) -> None:
    claim.report(epoch(1, 0.5 + 0.01 * claim.number, val_loss=1.0 + claim.number % 4))


def diverge(claim: RunningTrial) -> None:
    claim.report(epoch(1, float("nan")))


def drawn_by(study: SweepStudy) -> list[str]:
    return [trial.user_attrs[Attr.DRAWN_BY] for trial in study.trials() if trial.params]


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random", "qmc", "nsga2"])
def test_several_metrics_are_drawn_for(tmp_path: Path, sampler: str) -> None:
    study = begin(tmp_path, sampler, budget={"trials": 15}, objective=TWO_METRICS)
    run_trial(study, lambda claim: claim.report(epoch(1, float("nan"), val_loss=1.0)))
    run_all(study, two_metrics)
    assert study.counts() == {TrialState.COMPLETE: 14, TrialState.DIVERGED: 1}


def test_qmc_spreads_the_values_within_a_branch(tmp_path: Path) -> None:
    study = begin(tmp_path, "qmc", budget={"trials": 24}, model=CONDITIONAL)
    run_all(study, reports(0.5, 0.5, 0.5))
    depths = {trial.params.get("model.architecture.mlp.depth") for trial in study.trials()}
    assert len(depths - {None}) >= 4


def test_tpe_draws_for_gp_until_ten_trials_teach_it(tmp_path: Path) -> None:
    study = begin(tmp_path, "gp", budget={"trials": 12})
    for number in range(12):
        run_trial(study, diverge if number % 3 == 1 else reports(0.1 * number))
    assert drawn_by(study) == ["tpe"] * 10 + ["gp"] * 2
    assert study.sampler.explain() == (
        "gp",
        "named in the study file; tpe draws until 10 trials are complete",
    )


def test_gp_stays_away_from_where_trials_diverge(tmp_path: Path) -> None:
    """Beyond the middle of the range; accuracy rises up to there."""
    rate = {"low": 0.001, "high": 1.0}
    study = begin_in_memory(
        tmp_path, sampler={"name": "gp"}, train={"learning_rate": rate}, budget={"trials": 20}
    )

    def body(claim: RunningTrial) -> None:
        reached = claim.study.trials()[claim.number].params["train.learning_rate"]
        claim.report(epoch(1, float("nan") if reached > 0.5 else reached))

    run_all(study, body)
    late = study.trials()[12:]
    assert sum(trial.state == OptunaState.PRUNED for trial in late) <= 3


def test_numeric_choices_are_stored_as_values_and_searched_on_a_line(tmp_path: Path) -> None:
    """The best width is the fourth of eight."""
    model = {"architecture": "mlp", "width": {"choices": WIDTHS}}
    train = {"epochs": 1, "learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
    study = begin_in_memory(
        tmp_path, model=model, train=train, sampler={"name": "gp"}, budget={"trials": 16}
    )

    def body(claim: RunningTrial) -> None:
        width = claim.study.trials()[claim.number].params["model.width"]
        claim.report(epoch(1, -abs(WIDTHS.index(width) - 3)))

    run_all(study, body)
    for trial in study.trials():
        assert trial.distributions["model.width"] == CategoricalDistribution(WIDTHS)
        assert trial.params["model.width"] in WIDTHS
    late = [WIDTHS.index(trial.params["model.width"]) for trial in study.trials()[11:]]
    assert all(abs(index - 3) <= 1 for index in late)


def test_trials_that_ask_together_see_each_other(tmp_path: Path) -> None:
    study = begin(tmp_path, "gp", budget={"trials": 20})
    for number in range(12):
        run_trial(study, reports(0.01 * number))
    trials = [claim_trial(study), claim_trial(study)]
    assert trials[0] is not None
    assert trials[1] is not None
    together = study.draw([trials[0], trials[1]])
    alone = [study.draw([trial])[0] for trial in (trials[0], trials[1])]
    assert together[0] == alone[0]
    assert together[1] != alone[1]


def test_a_repeated_answer_becomes_its_nearest_neighbour(tmp_path: Path) -> None:
    model = {"architecture": "mlp", "depth": {"low": 1, "high": 100}}
    study = begin_in_memory(tmp_path, model=model, train={"epochs": 1}, budget={"trials": 4})
    first = claim_trial(study)
    assert first is not None
    [drawn] = study.draw([first])
    values = study.spec.ranges()["model.depth"]
    study.storage.create_new_trial(
        study.study_id,
        optuna.trial.create_trial(
            value=0.5,
            params=dict(drawn.searched),
            distributions={"model.depth": to_distribution(values)},
        ),
    )
    study.cache.look()
    [again] = study.draw([first])
    assert again.drawn_by == "fallback"
    depths = [int(str(found.searched["model.depth"])) for found in (drawn, again)]
    assert 1 <= abs(depths[0] - depths[1]) <= 12


def test_an_excerpt_of_a_storage_shows_its_trials_and_writes_to_the_storage(
    tmp_path: Path,
) -> None:
    study = begin_in_memory(tmp_path)
    run_trial(study, reports(0.5))
    excerpt: Any = Excerpt(study.storage, [study.trials()[number] for number in (0, 2)])
    assert numbers(excerpt.get_all_trials(study.study_id)) == [0, 2]
    assert numbers(excerpt.get_all_trials(study.study_id, states=(OptunaState.COMPLETE,))) == [0]
    copied = excerpt.get_all_trials(study.study_id)[1]
    shared = excerpt.get_all_trials(study.study_id, deepcopy=False)[1]
    assert copied == shared
    assert copied is not shared
    excerpt.set_trial_user_attr(study.trial_id(2), "seen", True)
    assert study.trials()[2].user_attrs == {"seen": True}
    before = dict(study.trials()[2].system_attrs)
    excerpt.set_trial_system_attr(study.trial_id(2), "cma:generation", 3)
    assert study.trials()[2].system_attrs == {**before, "cma:generation": 3}
