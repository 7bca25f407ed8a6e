"""Which trials of an earlier study fit the space of another one."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sweeper.config.settings import Scalar
from sweeper.errors import SpecError
from sweeper.study.source_trials import Source, SourceTrial, fit_trials
from sweeper.study.warm_start import MOST_KEPT, KnownTrial, WarmStart
from sweeper.trial import TrialState
from tests.support.sweep_studies import CONDITIONAL, spec_of

RATE, DEPTH = "train.learning_rate", "model.architecture.mlp.depth"
COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED


def ended(
    settings: Mapping[str, Scalar],
    accuracy: float = 0.5,
    *,
    state: TrialState = COMPLETE,
    curve: Mapping[int, float] | None = None,
) -> SourceTrial:
    return SourceTrial(state, settings, {"val_accuracy": accuracy}, curve or {})


def fit(
    folder: Path,
    *trials: SourceTrial,
    rename: Mapping[str, str] | None = None,
    n_epochs: int | None = 3,
    **changes: Any,
) -> WarmStart:
    section = {"from": "earlier", "rename": dict(rename or {})}
    spec = spec_of(folder, warm_start=section, **changes)
    return fit_trials(spec, Source("trials of earlier", trials, n_epochs))


def params(warm: WarmStart) -> list[Mapping[str, Scalar]]:
    return [trial.params for trial in warm.known]


def test_what_lies_within_the_ranges_fits(tmp_path: Path) -> None:
    warm = fit(tmp_path, ended({RATE: 0.01}, 0.7), ended({RATE: 0.5}), ended({RATE: 0.1}, 0.6))
    assert warm.known == [
        KnownTrial("complete", {RATE: 0.01}, [0.7], {}),
        KnownTrial("complete", {RATE: 0.1}, [0.6], {}),
    ]
    assert warm.explain("tpe") == (
        f"2 of 3 trials of earlier fit this space; 1 does not ({RATE} outside)"
    )


def test_all_that_counts_in_a_branch_must_be_known_and_nothing_else(tmp_path: Path) -> None:
    mlp: dict[str, Scalar] = {RATE: 0.01, "model.architecture": "mlp", DEPTH: 3}
    cnn: dict[str, Scalar] = {
        RATE: 0.02,
        "model.architecture": "cnn",
        "model.architecture.cnn.channels": 8,
    }
    other: dict[str, Scalar] = {RATE: 0.02, "model.architecture": "resnet"}
    width: dict[str, Scalar] = {"model.architecture.mlp.width": 32}
    warm = fit(
        tmp_path, *map(ended, [mlp, {**mlp, **width, "gone": 1}, cnn, other]), model=CONDITIONAL
    )
    assert params(warm) == [cnn, {**mlp, **width}]
    assert warm.misfits == {
        "model.architecture outside": 1,
        "model.architecture.mlp.width unknown": 1,
    }


def test_names_are_changed_of_settings_and_of_the_metric(tmp_path: Path) -> None:
    trial = SourceTrial(COMPLETE, {"lr": 0.01, RATE: 0.05}, {"acc": 0.7, "val_accuracy": 0.1})
    warm = fit(tmp_path, trial, rename={"lr": RATE, "acc": "val_accuracy"})
    assert warm.known == [KnownTrial("complete", {RATE: 0.01}, [0.7], {})]


@pytest.mark.parametrize(
    ("values", "there", "here"),
    [
        ({"low": 0.001, "high": 0.1}, "1e-2", 0.01),
        ({"low": 0.5, "high": 2.5}, 1, 1.0),
        ({"choices": [0.01, 0.1]}, "0.01", 0.01),
        ({"choices": [1.0, 2.0]}, 1, 1.0),
    ],
)
def test_texts_and_whole_numbers_become_values_of_the_range(
    tmp_path: Path, values: Any, there: Scalar, here: Scalar
) -> None:
    warm = fit(tmp_path, ended({RATE: there}), train={"epochs": 3, "learning_rate": values})
    [found] = params(warm)
    assert found == {RATE: here}
    assert type(found[RATE]) is type(here)


@pytest.mark.parametrize(
    ("key", "values", "there", "here"),
    [
        ("nesterov", {"choices": [False, True]}, "True", True),
        ("nesterov", {"choices": [False, True]}, False, False),
        ("optimizer", {"choices": ["sgd", "adamw"]}, "adamw", "adamw"),
        ("warmup_epochs", {"low": 0, "high": 2}, "1.0", 1),
        ("accumulate", {"low": 1, "high": 3}, "2", 2),
        ("accumulate", {"low": 1, "high": 3}, 2.0, 2),
    ],
)
def test_words_truth_values_and_whole_numbers_of_mlflow(
    tmp_path: Path, key: str, values: Any, there: Scalar, here: Scalar
) -> None:
    train = {"epochs": 3, "momentum": 0.9, key: values}
    [found] = params(fit(tmp_path, ended({f"train.{key}": there}), train=train))
    assert found == {f"train.{key}": here}
    assert type(found[f"train.{key}"]) in (type(here), float)


def test_what_was_varied_there_and_is_a_constant_here_must_be_that(tmp_path: Path) -> None:
    trials = [ended({RATE: 0.01 * n, "train.optimizer": word, "train.epochs": 9})
              for n, word in ((1, "sgd"), (2, "adamw"), (3, "sgd"))]  # fmt: skip
    train = {"epochs": 3, "learning_rate": {"low": 0.001, "high": 0.1}, "optimizer": "adamw"}
    warm = fit(tmp_path, *trials, train=train)
    assert params(warm) == [{RATE: 0.02}]
    assert warm.misfits == {"train.optimizer not adamw": 2}
    # What was one and the same there may be another one here.
    assert len(fit(tmp_path, *trials[::2], train=train).known) == 2


def test_how_it_ended_decides_what_it_teaches(tmp_path: Path) -> None:
    pruned = ended({RATE: 0.02}, 0.4, state=PRUNED, curve={1: 0.3, 2: 0.4})
    trials = [
        ended({RATE: 0.01}, curve={1: 0.2, 2: 0.3, 3: 0.5}),
        pruned,
        ended({RATE: 0.03}, math.nan, state=TrialState.DIVERGED),
        ended({RATE: 0.04}, state=TrialState.FAILED),
        ended({RATE: 0.05}, math.nan),
    ]
    warm = fit(tmp_path, *trials)
    assert warm.misfits == {"failed": 1, "no val_accuracy": 1}
    assert {trial.state: trial.curve for trial in warm.known} == {
        "complete": {2: 0.3, 3: 0.5},  # where a trial was pruned, and its last
        "pruned": {2: 0.4},
        "diverged": {},
    }
    other = fit(tmp_path, *trials, n_epochs=9)
    assert other.misfits["pruned, after epochs that do not compare"] == 1
    assert [trial.curve for trial in other.known] == [{}, {}]
    assert warm.explain("tpe").endswith("; 2 do not (1 no val_accuracy, 1 failed)")


def test_several_metrics_must_all_be_there(tmp_path: Path) -> None:
    objective = {"metric": ["val_accuracy", "val_loss"], "direction": ["maximize", "minimize"]}
    both = SourceTrial(COMPLETE, {RATE: 0.01}, {"val_loss": 2.0, "val_accuracy": 0.5})
    warm = fit(tmp_path, ended({RATE: 0.02}), both, objective=objective)
    assert [trial.values for trial in warm.known] == [[0.5, 2.0]]
    assert warm.misfits == {"no val_loss": 1}


def test_what_forbid_rules_out_does_not_fit(tmp_path: Path) -> None:
    values = {"choices": [0.01, 0.02]}
    warm = fit(
        tmp_path,
        ended({RATE: 0.01}),
        ended({RATE: 0.02}),
        train={"epochs": 3, "learning_rate": values},
        forbid=[{RATE: 0.01}],
    )
    assert params(warm) == [{RATE: 0.02}]
    assert warm.misfits == {"ruled out by forbid": 1}


def test_of_very_many_the_best_and_the_latest_are_kept(tmp_path: Path) -> None:
    trials = [ended({RATE: 0.01}, -float(n)) for n in range(2 * MOST_KEPT)]
    warm = fit(tmp_path, *trials)
    kept = [-trial.values[0] for trial in warm.known]
    assert kept == [*range(100), *range(1999, 1099, -1)]
    assert warm.explain("gp") == (
        "2,000 of 2,000 trials of earlier fit this space; of them the best and the latest are "
        "kept, 1,000 in all"
    )


def test_a_study_of_which_nothing_fits_is_no_warm_start(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        fit(tmp_path, ended({"lr": 0.01, "seed": 0}), ended({"lr": 0.02, "seed": 0}))
    assert str(caught.value).partition(": ")[2] == (
        f"warm_start.from: 0 of 2 trials of earlier fit this space; 2 do not ({RATE} unknown); "
        "what varied there is lr. Widen the ranges, or let warm_start.rename say which names "
        "there mean what here, or drop warm_start"
    )


def test_an_old_name_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        fit(tmp_path, ended({"train.lr": 0.01}), rename={"train.rl": RATE, "acc": "val_accuracy"})
    first, second = str(caught.value).splitlines()
    assert "warm_start.rename.train.rl: the trials of earlier have no such name" in first
    assert "; did you mean 'train.lr'?" in first
    assert second.endswith("have no such name; known: train.lr, val_accuracy")


def test_a_sampler_that_learns_nothing_is_told(tmp_path: Path) -> None:
    warm = fit(tmp_path, ended({RATE: 0.01}))
    assert warm.explain("grid") == (
        "1 of 1 trials of earlier fit this space; grid learns nothing from them"
    )
