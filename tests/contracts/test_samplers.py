"""What every sampler keeps to, whatever it learns from."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, Literal

import optuna
import pytest
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.config.ranges import Choices, Range, contains
from sweeper.config.settings import Scalar
from sweeper.config.space import is_forbidden, suggest_config
from sweeper.study.attributes import Attr
from sweeper.study.samplers.draw import Drawn
from sweeper.study.samplers.optuna import to_distribution
from sweeper.study.samplers.window import TRANSFERRING, TrialWindow
from sweeper.study.study import SweepStudy
from sweeper.study.warm_start import KnownTrial, WarmStart, keep_warm_start
from sweeper.trial import FailureKind, TrialState
from tests.support.sweep_studies import begin_in_memory, claim_trial, raises, reports, run_trial

SAMPLERS = ("conditional_gp", "gp", "tpe", "random", "qmc", "cmaes", "nsga2")
#: One of each kind of range, in two branches.
MIXED: Mapping[str, Any] = {
    "data": {"name": "digits", "batch_size": {"choices": [64, 16, 32, 128]}},
    "model": {
        "architecture": {
            "choices": {
                "mlp": {
                    "depth": {"low": 1, "high": 9, "step": 2},
                    "width": {"low": 4, "high": 512, "log": True},
                    "activation": {"choices": ["relu", "tanh", "gelu"]},
                },
                "cnn": {"dropout": {"low": 0.0, "high": 0.5, "step": 0.1}},
            }
        }
    },
    "train": {
        "nesterov": {"choices": [True, False]},
        "momentum": {"low": 0.5, "high": 0.99},
        "learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
    },
}
#: 16 settings: some more than gp waits for before it draws.
TINY: Mapping[str, Any] = {
    "data": {"name": "digits", "batch_size": {"choices": [16, 32]}},
    "model": {"architecture": "mlp", "depth": {"low": 1, "high": 4}},
    "train": {"epochs": 1, "optimizer": {"choices": ["sgd", "adamw"]}},
}
ONE: Mapping[str, Any] = {"train": {"epochs": 1, "l2": {"low": 0.0, "high": 0.5}}}
SIXTY: Mapping[str, Any] = {
    "train": {"function": "mine:run", **{f"x{i}": {"low": 0.0, "high": 1.0} for i in range(60)}}
}

Value = Callable[[int], float]


def begin(folder: Path, sampler: str, **changes: Any) -> SweepStudy:
    """A study that goes on when all settings were tried."""
    return begin_in_memory(
        folder,
        **{"budget": {"trials": 5000}, **changes},
        sampler={"name": sampler, "duplicates": "reseed"},
    )


def random_setting(study: SweepStudy, rng: Random) -> dict[str, Scalar]:
    drawn: dict[str, Scalar] = {}

    def suggest(name: str, values: Range) -> Scalar:
        if isinstance(values, Choices):
            drawn[name] = rng.choice(values.options)
        elif isinstance(values.low, int) and isinstance(values.step, int):
            drawn[name] = rng.randrange(values.low, int(values.high) + 1, values.step)
        elif values.step:
            drawn[name] = values.low + values.step * rng.randint(0, 5)
        else:
            drawn[name] = rng.uniform(values.low, values.high)
        return drawn[name]

    while not drawn or is_forbidden(study.spec, drawn):
        drawn.clear()
        suggest_config(study.spec, suggest, seed=0)
    return drawn


def add(
    study: SweepStudy,
    n: int,
    value: Value = lambda number: math.sin(number),
    state: TrialState = TrialState.COMPLETE,
) -> None:
    """Made-up trials of random settings that ended so."""
    rng = Random(len(study.trials()))
    ranges = study.spec.ranges()
    end = {
        TrialState.COMPLETE: OptunaState.COMPLETE,
        TrialState.DIVERGED: OptunaState.PRUNED,
        TrialState.FAILED: OptunaState.FAIL,
    }[state]
    attributes: dict[str, Any] = {Attr.STATE: state, Attr.FAILURE: FailureKind.OUT_OF_MEMORY}
    for number in range(n):
        setting = random_setting(study, rng)
        trial = optuna.trial.create_trial(
            state=end,
            value=value(number) if state == TrialState.COMPLETE else None,
            intermediate_values={1: value(number)},
            params=setting,
            distributions={name: to_distribution(ranges[name]) for name in setting},
            user_attrs={} if state == TrialState.COMPLETE else attributes,
        )
        study.storage.create_new_trial(study.study_id, trial)


def know(
    study: SweepStudy,
    n: int,
    value: Value = lambda number: math.sin(number),
    state: Literal["complete", "diverged"] = "complete",
) -> None:
    """Made-up trials of random settings that an earlier study has left."""
    rng = Random(n)
    known = [
        KnownTrial(
            state, random_setting(study, rng), [value(at)] if state == "complete" else [], {}
        )
        for at in range(n)
    ]
    keep_warm_start(study.storage, study.study_id, WarmStart("x", n, n, {}, known))


def claim(study: SweepStudy, n: int) -> list[FrozenTrial]:
    trials = [claim_trial(study) for _ in range(n)]
    return [trial for trial in trials if trial]


def ask(study: SweepStudy, n: int = 1) -> list[Drawn]:
    return study.draw(claim(study, n))


def assert_valid(study: SweepStudy, drawn: Sequence[Drawn]) -> None:
    ranges = study.spec.ranges()
    for found in drawn:
        assert found.drawn_by
        assert not is_forbidden(study.spec, found.searched)
        counted: dict[str, Scalar] = {}

        def suggest(
            name: str, _: Range, found: Drawn = found, counted: dict[str, Scalar] = counted
        ) -> Scalar:
            counted[name] = found.searched[name]
            return counted[name]

        suggest_config(study.spec, suggest, seed=0)
        assert counted == found.searched
        for name, value in found.searched.items():
            assert contains(ranges[name], value), (name, value)
    settings = [frozenset(found.searched.items()) for found in drawn]
    assert len(set(settings)) == len(settings)


@pytest.mark.parametrize(
    ("sampler", "n"),
    [*product(SAMPLERS, (0, 1, 12)), ("gp", 250), ("tpe", 300), ("conditional_gp", 2000)],
)
def test_each_value_is_one_of_its_range_and_counts_in_its_branch(
    tmp_path: Path, sampler: str, n: int
) -> None:
    study = begin(tmp_path, sampler, **MIXED)
    add(study, n)
    assert_valid(study, ask(study, 2))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("space", [ONE, SIXTY], ids=["one parameter", "sixty"])
def test_one_parameter_or_sixty(tmp_path: Path, sampler: str, space: Mapping[str, Any]) -> None:
    study = begin(tmp_path, sampler, **space)
    add(study, 14)
    assert_valid(study, ask(study, 2))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_and_history_give_the_same_answers(tmp_path: Path, sampler: str) -> None:
    answers = []
    for folder, seed, n in [("a", 7, 14), ("b", 7, 14), ("c", 8, 14), ("d", 7, 0), ("e", 7, 0)]:
        study = begin(tmp_path / folder, sampler, **MIXED, seed=seed)
        add(study, n)
        answers.append([found.searched for found in ask(study)])
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]
    assert answers[3] == answers[4]


# Where qmc is in its sequence stands in the storage, so a process that is killed costs it a point.
@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "qmc"])
def test_a_process_that_is_killed_before_it_writes_does_no_harm(
    tmp_path: Path, sampler: str
) -> None:
    study = begin(tmp_path, sampler, **MIXED)
    add(study, 14)
    trials = claim(study, 1)
    before = study.draw(trials)
    after = SweepStudy(study.spec, study.paths, study.storage)
    assert after.draw(trials) == before


def test_what_others_draw_at_this_moment_is_foreseen(tmp_path: Path) -> None:
    study = begin(tmp_path, "conditional_gp", **MIXED)
    add(study, 14)
    trials = claim(study, 3)
    alone = [found for trial in trials for found in study.draw([trial])]  # none is written
    assert alone == study.draw(trials)
    assert_valid(study, alone)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("end", ["constant", "diverged", "failed", "huge"])
def test_odd_outcomes_stop_nobody(tmp_path: Path, sampler: str, end: str) -> None:
    study = begin(tmp_path, sampler, **MIXED)
    add(study, 12, (lambda _: 0.5) if end == "constant" else lambda number: 10.0 ** (9 * number))
    if end == "diverged":
        add(study, 6, lambda number: math.nan if number % 2 else math.inf, TrialState.DIVERGED)
    if end == "failed":
        add(study, 6, state=TrialState.FAILED)
    assert_valid(study, ask(study))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_nothing_but_bad_ends_stops_nobody(tmp_path: Path, sampler: str) -> None:
    study = begin(tmp_path, sampler, **MIXED)
    add(study, 14, lambda _: math.nan, TrialState.DIVERGED)
    assert_valid(study, ask(study, 2))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_forbid_leaves_of_a_space_is_drawn_from(tmp_path: Path, sampler: str) -> None:
    """One in a hundred combinations of two ranges."""
    model = {
        "architecture": "mlp",
        "depth": {"low": 1, "high": 10},
        "width": {"choices": [2**i for i in range(10)]},
    }
    forbid = [
        {"model.depth": depth, "model.width": 2**i}
        for depth in range(1, 11)
        for i in range(10)
        if (depth, i) != (4, 5)
    ]
    study = begin(tmp_path, sampler, model=model, forbid=forbid)
    add(study, 14)
    drawn = ask(study, 3)
    assert_valid(study, drawn)
    if sampler == "conditional_gp":  # the others propose what is then replaced
        assert [found.drawn_by for found in drawn] == ["model"] * 3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_small_space_is_gone_through_before_a_setting_is_repeated(
    tmp_path: Path, sampler: str
) -> None:
    study = begin(tmp_path, sampler, **TINY)
    for number in range(17):
        run_trial(study, reports(math.sin(number)))
    settings = [frozenset(trial.params.items()) for trial in study.trials() if trial.params]
    assert len(set(settings[:16])) == 16
    assert settings[16] in settings[:16]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_those_that_ask_together_get_different_settings_of_a_small_space(
    tmp_path: Path, sampler: str
) -> None:
    study = begin(tmp_path, sampler, **TINY)
    drawn = ask(study, 16)
    assert_valid(study, drawn)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_a_trial_was_enqueued_with_stays(tmp_path: Path, sampler: str) -> None:
    given = {"model.architecture": "cnn", "train.momentum": 0.75}
    study = begin(tmp_path, sampler, **MIXED, enqueue=[given])
    add(study, 14)
    [drawn] = ask(study)
    assert_valid(study, [drawn])
    assert drawn.searched.items() >= given.items()


@pytest.mark.parametrize("sampler", ["conditional_gp", "tpe", "random"])
def test_a_setting_that_the_sampler_does_not_see_is_not_repeated(
    tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but one of 16 settings were tried, and the sampler is shown none of them."""
    study = begin(tmp_path, sampler, **TINY)
    for number in range(15):
        run_trial(study, reports(math.sin(number)))
    tried = {frozenset(trial.params.items()) for trial in study.trials() if trial.params}
    monkeypatch.setattr(TrialWindow, "trials", lambda *_: [])
    [drawn] = ask(study)
    assert frozenset(drawn.searched.items()) not in tried


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_failed_is_tried_again_before_anything_is_repeated(
    tmp_path: Path, sampler: str
) -> None:
    study = begin(tmp_path, sampler, train={"optimizer": {"choices": ["sgd", "adamw"]}})
    run_trial(study, raises(ValueError("no")))
    for _ in range(2):
        run_trial(study, reports(0.5))
    complete = study.trials((OptunaState.COMPLETE,))
    assert sorted(trial.params["train.optimizer"] for trial in complete) == ["adamw", "sgd"]


@pytest.mark.parametrize("sampler", TRANSFERRING)
@pytest.mark.parametrize(("n_known", "n"), [(1, 0), (30, 0), (30, 14), (400, 2)])
def test_what_an_earlier_study_left_leads_to_values_of_the_ranges(
    tmp_path: Path, sampler: str, n_known: int, n: int
) -> None:
    study = begin(tmp_path, sampler, **MIXED)
    know(study, n_known)
    add(study, n)
    assert_valid(study, ask(study, 2))


@pytest.mark.parametrize("sampler", TRANSFERRING)
def test_the_same_that_an_earlier_study_left_leads_to_the_same(
    tmp_path: Path, sampler: str
) -> None:
    answers = []
    for folder, n_known in [("a", 12), ("b", 12), ("c", 11)]:
        study = begin(tmp_path / folder, sampler, **MIXED)
        know(study, n_known)
        add(study, 3)
        trials = claim(study, 1)
        answers.append([found.searched for found in study.draw(trials)])
        again = SweepStudy(study.spec, study.paths, study.storage)
        assert [found.searched for found in again.draw(trials)] == answers[-1]
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize("sampler", sorted({*SAMPLERS} - {*TRANSFERRING}))
def test_others_draw_as_if_no_earlier_study_had_left_anything(
    tmp_path: Path, sampler: str
) -> None:
    answers = []
    for folder, n_known in [("a", 30), ("b", 0)]:
        study = begin(tmp_path / folder, sampler, **MIXED)
        know(study, n_known)
        add(study, 3)
        answers.append([found.searched for found in ask(study, 2)])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("sampler", TRANSFERRING)
@pytest.mark.parametrize("end", ["constant", "diverged", "huge"])
def test_odd_ends_of_an_earlier_study_stop_nobody(tmp_path: Path, sampler: str, end: str) -> None:
    study = begin(tmp_path, sampler, **MIXED)
    values: dict[str, Value] = {"constant": lambda _: 0.5, "huge": lambda n: 10.0 ** (9 * n)}
    know(
        study, 14, values.get(end, lambda _: 0.0), "diverged" if end == "diverged" else "complete"
    )
    assert_valid(study, ask(study))
    add(study, 2, lambda number: number - 0.5)
    assert_valid(study, ask(study))


@pytest.mark.parametrize("sampler", TRANSFERRING)
def test_what_an_earlier_study_tried_may_be_tried_once_more(tmp_path: Path, sampler: str) -> None:
    tiny = {**TINY, "model": {"architecture": "mlp", "depth": {"low": 1, "high": 2}}}
    study = begin(tmp_path, sampler, **tiny)
    know(study, 15)  # nearly all of 8 settings
    for number in range(8):
        run_trial(study, reports(math.sin(number)))
    settings = {frozenset(trial.params.items()) for trial in study.trials() if trial.params}
    assert len(settings) == 8


@pytest.mark.parametrize("sampler", TRANSFERRING)
def test_the_first_trial_is_drawn_where_an_earlier_study_was_best(
    tmp_path: Path, sampler: str
) -> None:
    """On a line, with the best at its lower end; of random draws a fifth would be so low."""
    known = [
        KnownTrial("complete", {"train.l2": 0.5 * at / 39}, [1 - at / 39], {}) for at in range(40)
    ]
    drawn = []
    for seed in range(3):
        study = begin(tmp_path / str(seed), sampler, **ONE, seed=seed)
        keep_warm_start(study.storage, study.study_id, WarmStart("x", 40, 40, {}, known))
        drawn += [float(str(found.searched["train.l2"])) for found in ask(study)]
    assert sorted(drawn)[1] < 0.1
