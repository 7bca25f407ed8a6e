from collections.abc import Mapping
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from sweeper.config.ranges import Choices, FloatRange, Range
from sweeper.study.attributes import Attr
from sweeper.study.samplers.shown_trials import ShownTrials
from sweeper.trial import Direction, FailureKind, TrialState

RANGES: dict[str, Range] = {
    "width": Choices((64, 16, 32)),
    "name": Choices(("sgd", "adam", "rmsprop")),
    "two": Choices((1, 2)),
    "rate": FloatRange(0.0, 1.0),
}
STORED = {
    "width": CategoricalDistribution((64, 16, 32)),
    "name": CategoricalDistribution(("sgd", "adam", "rmsprop")),
    "two": CategoricalDistribution((1, 2)),
    "rate": FloatDistribution(0.0, 1.0),
}
PARAMS = {"width": 64, "name": "adam", "two": 2, "rate": 0.5}


def view(direction: Direction = "maximize") -> ShownTrials:
    return ShownTrials(RANGES, [direction])


def trial(
    number: int,
    state: OptunaState = OptunaState.COMPLETE,
    *,
    value: float | None = None,
    attributes: Mapping[str, Any] | None = None,
    notes: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] = PARAMS,
) -> FrozenTrial:
    found = create_trial(
        state=state,
        value=value,
        params=dict(params),
        distributions={name: STORED[name] for name in params},
        user_attrs=dict(attributes or {}),
        system_attrs=dict(notes or {}),
        intermediate_values={} if value is None else {1: value},
    )
    found.number = number
    return found


DIVERGED: dict[str, Any] = {Attr.STATE: TrialState.DIVERGED}


def test_three_numbers_or_more_are_places_in_their_order() -> None:
    [shown] = view().trials([trial(0, value=0.5)])
    assert shown.params == {**PARAMS, "width": 2}
    assert shown.distributions == {**STORED, "width": IntDistribution(0, 2)}
    assert [view().value("width", place) for place in (0, 1, 2)] == [16, 32, 64]
    assert view().value("two", 2) == 2
    assert view().distribution("two") == STORED["two"]


@pytest.mark.parametrize(("direction", "worst"), [("maximize", 0.2), ("minimize", 0.9)])
def test_what_ended_badly_is_shown_complete_with_the_worst_value(
    direction: Direction, worst: float
) -> None:
    failed: dict[str, Any] = {Attr.FAILURE: FailureKind.OUT_OF_MEMORY}
    other: dict[str, Any] = {Attr.FAILURE: FailureKind.EXCEPTION}
    history = [
        trial(0, value=0.5),
        trial(1, value=0.9),
        trial(2, OptunaState.PRUNED, value=0.2),
        trial(3, OptunaState.PRUNED, attributes=DIVERGED),
        trial(4, OptunaState.FAIL, attributes=failed),
        trial(5, OptunaState.FAIL, attributes=other),
    ]
    shown = view(direction).trials(history)
    assert [found.state for found in shown] == [
        OptunaState.COMPLETE, OptunaState.COMPLETE, OptunaState.PRUNED, OptunaState.COMPLETE,
        OptunaState.COMPLETE, OptunaState.FAIL,
    ]  # fmt: skip
    assert [found.value for found in shown[3:5]] == [worst, worst]
    assert [found.state for found in history[3:]] == [
        OptunaState.PRUNED, OptunaState.FAIL, OptunaState.FAIL,
    ]  # fmt: skip


def test_without_any_value_a_bad_end_is_shown_as_it_is() -> None:
    [shown] = view().trials([trial(0, OptunaState.PRUNED, attributes=DIVERGED)])
    assert (shown.state, shown.values) == (OptunaState.PRUNED, None)


def test_what_has_not_ended_runs_with_its_settings_and_without_notes_of_samplers() -> None:
    notes = {"tpe:relative_params:0": "{}"}
    shown = view().trials(
        [
            trial(0, OptunaState.RUNNING, notes=notes),
            trial(1, OptunaState.WAITING, notes=notes),
            trial(2, OptunaState.WAITING, params={}),
        ]
    )
    assert [(found.number, found.state, dict(found.system_attrs)) for found in shown] == [
        (0, OptunaState.RUNNING, {}),
        (1, OptunaState.RUNNING, {}),
    ]
    assert shown[0].params == {**PARAMS, "width": 2}


def test_notes_of_samplers_that_were_shown_names_are_left_out() -> None:
    notes = {"cma:generation": 3}
    new: dict[str, Any] = {Attr.DRAWN_BY: "cmaes"}
    history = [trial(0, value=0.5, notes=notes), trial(1, value=0.5, notes=notes, attributes=new)]
    shown = view().trials(history)
    assert [dict(found.system_attrs) for found in shown] == [{}, notes]
    # Where nothing is on a line, they were shown the same.
    [same] = view().trials([trial(0, value=0.5, notes=notes, params={"rate": 0.5})])
    assert dict(same.system_attrs) == notes


def test_a_trial_of_an_earlier_study_is_shown_anew_each_time() -> None:
    """As what it came to is told in other units each time; Optuna leaves numbers below -1 out."""
    shown = view()
    for value in (0.5, 0.25):
        known = [trial(number, value=value) for number in (-3, -2)]
        found = shown.trials([*known, trial(0, value=1.0)])
        assert [(each.number, each.value) for each in found] == [
            (-1, value),
            (-1, value),
            (0, 1.0),
        ]
        assert found[0].params["width"] == 2
        assert [each.number for each in known] == [-3, -2]
