"""How many settings a space has, each in turn, and which is which."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.config.grid import (
    count_goal,
    count_settings,
    explain_end,
    explain_goal,
    grid_points,
    untried,
)
from sweeper.config.ranges import Choices, FloatRange, IntRange, Range, setting_key
from sweeper.config.settings import Scalar
from sweeper.config.space import first_value, is_forbidden, suggest_config
from sweeper.config.study import StudySpec
from tests.support.spec_files import BASE, drawing, study

MOST = 10**6
FOUR = (
    "data: {name: digits, batch_size: {choices: [32, 64]}}\nmodel: {architecture: mlp}\n"
    "train: {optimizer: {choices: [sgd, adamw]}}\n"
)
#: Branches beside branches and in branches, keys that they replace, and every kind of range.
WOOD = study(
    """\
train:
  function: 'my:run'
  inner: {size: {choices: [true, null]}, kind: {choices: {x: {size: 9}, y: }}}
  net:
    choices:
      mlp: {depth: {low: 1, high: 5, step: 2}, drop: 0}
      cnn: {pool: {choices: {max: {drop: {choices: [0.2, 0.4]}}, mean: }}}
  drop: {low: -0.2, high: 0.2, step: 0.2}
  opt: {choices: {sgd: {speed: {choices: [1, 2]}}, adam: }}
  speed: {low: 5, high: 6}
"""
)


def function(keys: str, forbid: str = "") -> StudySpec:
    """A study of a function of the user's own that takes those."""
    return study(f"train:\n  function: my:run\n{keys}\nforbid: [{forbid}]")


def points(spec: StudySpec) -> list[dict[str, Scalar]]:
    return list(grid_points(spec))


def values_of(values: Range) -> list[Scalar]:
    if isinstance(values, Choices):
        return list(values.options)
    if isinstance(values, IntRange):
        return list(range(values.low, values.high + 1, values.step))
    assert isinstance(values, FloatRange)
    assert values.step is not None
    n_steps = round((values.high - values.low) / values.step)
    return [values.low + i * values.step for i in range(n_steps + 1)]


def drawable(spec: StudySpec, begun: Mapping[str, Scalar]) -> Iterator[dict[str, Scalar]]:
    """All that a trial can draw, by drawing; the last range drawn moves fastest."""
    new: dict[str, Range] = {}

    def suggest(name: str, values: Range) -> Scalar:
        if name not in begun:
            new[name] = values
        return begun.get(name, first_value(name, values))

    suggest_config(spec, suggest, seed=0)
    if not new:
        yield dict(begun)
        return
    name = next(iter(new))
    for value in values_of(new[name]):
        yield from drawable(spec, {**begun, name: value})


EVERYTHING = list(drawable(WOOD, {}))
RULES = st.lists(
    st.lists(st.sampled_from(sorted(WOOD.ranges())), min_size=1, max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries(
            {name: st.sampled_from(values_of(WOOD.ranges()[name])) for name in names}
        )
    ),
    max_size=6,
)


def test_a_space_without_rules_is_all_that_a_trial_can_draw() -> None:
    # mlp: 3 depths; cnn: 2 drops of max, 3 drops of mean. sgd: 2 speeds of its own, adam: 2.
    # inner: the size of x, or one of two.
    assert len(EVERYTHING) == (3 + 2 + 3) * (2 + 2) * (1 + 2)
    assert points(WOOD) == EVERYTHING
    assert count_settings(WOOD, MOST) == len(EVERYTHING)


@given(RULES, st.integers(1, 200))
def test_what_is_counted_and_listed_is_what_forbid_leaves(
    rules: list[dict[str, Any]], most: int
) -> None:
    spec = replace(WOOD, forbid=tuple(rules))
    left = [point for point in EVERYTHING if not is_forbidden(spec, point)]
    assert points(spec) == left
    assert count_settings(spec, MOST) == len(left)
    assert count_settings(spec, most) == min(len(left), most)


@given(RULES, st.sampled_from(EVERYTHING), st.data())
def test_given_values_stay_where_they_are_drawn(
    rules: list[dict[str, Any]], whole: dict[str, Scalar], data: st.DataObject
) -> None:
    spec = replace(WOOD, forbid=tuple(rules))
    names = data.draw(st.sets(st.sampled_from(sorted(whole))))
    kept = {name: whole[name] for name in names}
    left = [
        point
        for point in EVERYTHING
        if not is_forbidden(spec, point)
        and all(point[name] == kept[name] for name in names if name in point)
    ]
    assert list(grid_points(spec, kept)) == left


def test_a_grid_has_only_the_points_that_a_trial_could_draw() -> None:
    for point in points(WOOD):
        drawn: list[str] = []
        suggest_config(WOOD, drawing(point, drawn), seed=0)
        assert drawn == list(point)


@pytest.mark.parametrize(
    ("keys", "forbid", "n_settings"),
    [
        ("  x: 1", "", 1),
        ("  x: {low: 0.0, high: 1.0}", "", MOST),
        ("  x: {low: 0.0, high: 1.0}", "{train.x: 0.5}", MOST),
        ("  x: {low: 1, high: 1000000000000000000}", "", MOST),
        ("  x: {low: 1, high: 300}\n  y: {low: 1, high: 1000}", "{train.x: 7, train.y: 7}",
         299_999),
        ("  x: {choices: [a, b]}", "{train.x: a}, {train.x: b}", 0),
        ("  x: {choices: {a: {y: {low: 0.0, high: 1.0}}, b: {z: {low: 1, high: 5}}}}", "", MOST),
        ("  x: {choices: {a: {y: {low: 0.0, high: 1.0}}, b: {z: {low: 1, high: 5}}}}",
         "{train.x: a}", 5),
        ("  x: {choices: {a: {y: 3}, b: }}\n  y: {low: 0.0, high: 1.0}", "{train.x: b}", 1),
        ("  x: {choices: [1, 2]}\n  y: {low: 0.0, high: 1.0}\n  z: {choices: [1, 2, 3]}",
         "{train.z: 1}, {train.z: 2}, {train.x: 1, train.z: 3}, {train.x: 2, train.z: 3}", 0),
    ],
)  # fmt: skip
def test_settings_are_counted_up_to_what_is_as_good_as_endless(
    keys: str, forbid: str, n_settings: int
) -> None:
    assert count_settings(function(keys, forbid), MOST) == n_settings


LONG = "\n".join(f"  m{i}: {{low: 1, high: 10}}" for i in range(30))


def narrow(keys: str, rules: list[str]) -> StudySpec:
    """Thirty ranges between the first one and the last, of ten values each."""
    return function(
        f"  a: {{low: 1, high: 10}}\n{LONG}\n  z: {{choices: [1, 2]}}\n{keys}", ", ".join(rules)
    )


def test_a_huge_space_of_which_forbid_leaves_little_takes_no_time() -> None:
    # a leaves z nothing unless a is 1, which is seen before the thirty are gone through.
    ends = [
        f"{{train.a: {a}, train.z: {z}}}" for a in range(1, 11) for z in (1, 2) if (a, z) != (1, 2)
    ]
    middle = [
        f"{{train.m{i}: {value}}}" for i in range(30) for value in range(1, 11) if value != 4
    ]
    spec = narrow("", [*ends, *middle])
    assert count_settings(spec, MOST) == 1
    assert points(spec) == [{"train.a": 1, **{f"train.m{i}": 4 for i in range(30)}, "train.z": 2}]
    wide = narrow("", ends)
    assert count_settings(wide, MOST) == MOST
    assert count_settings(wide, 10**40) == 10**30
    assert [point["train.m29"] for point in islice(grid_points(wide), 11)] == [*range(1, 11), 1]
    assert count_settings(narrow("", [*ends, "{train.a: 1}"]), MOST) == 0


def test_many_rules_that_have_nothing_to_do_with_each_other_are_counted_as_far_as_asked() -> None:
    pairs = [f"{{train.m{i}: 1, train.m{i + 1}: 1}}" for i in range(0, 30, 2)]
    assert count_settings(narrow("", pairs), MOST) == MOST
    assert count_settings(narrow("", pairs), 3) == 3


def test_grids_of_nested_keys_and_of_too_much() -> None:
    assert points(function("  a: {b: {choices: [x, null]}, c: {low: 1, high: 2}}")) == [
        {"train.a.b": "x", "train.a.c": 1},
        {"train.a.b": "x", "train.a.c": 2},
        {"train.a.b": None, "train.a.c": 1},
        {"train.a.b": None, "train.a.c": 2},
    ]
    endless = grid_points(function("  a: {low: 0, high: 999999999999999999}"))
    assert [next(endless), next(endless)] == [{"train.a": 0}, {"train.a": 1}]


def test_a_rule_for_what_the_data_have_no_more_rules_nothing_out() -> None:
    spec = study(FOUR + "forbid: [{data.batch_size: 32}]")
    assert count_settings(spec, MOST) == 2
    fallback = replace(spec, sections={**spec.sections, "data": {"name": "digits"}})
    assert points(fallback) == [{"train.optimizer": "sgd"}, {"train.optimizer": "adamw"}]


def test_the_untried_come_in_the_order_of_the_file() -> None:
    spec = study(FOUR)
    tried = [{"data.batch_size": 32, "train.optimizer": "sgd"}]
    assert list(untried(spec, tried.__contains__)) == [
        {"data.batch_size": 32, "train.optimizer": "adamw"},
        {"data.batch_size": 64, "train.optimizer": "sgd"},
        {"data.batch_size": 64, "train.optimizer": "adamw"},
    ]
    assert list(untried(spec, tried.__contains__, {"train.optimizer": "sgd"})) == [
        {"data.batch_size": 64, "train.optimizer": "sgd"}
    ]
    assert list(untried(spec, lambda _: True)) == []


def test_a_step_is_the_same_however_it_was_computed() -> None:
    ranges = function("  x: {low: 0.1, high: 0.3, step: 0.1}\n  y: {low: 0.0, high: 1.0}").ranges()
    keys = {setting_key(ranges, {"train.x": x}) for x in (0.3, 0.1 + 2 * 0.1, 0.29999999999999993)}
    assert len(keys) == 1
    assert keys != {setting_key(ranges, {"train.x": 0.2})}
    others = {setting_key(ranges, {"train.y": y}) for y in (0.3, 0.1 + 2 * 0.1)}
    assert len(others) == 2


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        (BASE, 1),
        (FOUR, 4),
        (FOUR + "budget: {trials: 3}", 3),
        (FOUR + "budget: {trials: 4}", 4),
        (FOUR + "budget: {trials: 8}\nsampler: {duplicates: reseed}", 8),
        (FOUR + "sampler: {duplicates: reseed}", 50),
        (FOUR + "sampler: {name: grid}", 4),
        (FOUR + "sampler: {name: grid, duplicates: reseed}", 4),
        (FOUR + "sampler: {name: grid, duplicates: reseed}\nbudget: {trials: 9}", 9),
        (BASE + "budget: {trials: 5}\nsampler: {duplicates: reseed}", 5),
        (BASE + "train: {l1: {low: 0, high: 1}}", 50),
        (BASE + "train: {epochs: {low: 1, high: 60}}\nsampler: {name: grid}", 60),
    ],
)
def test_the_goal_is_the_budget_or_every_setting(text: str, goal: int) -> None:
    spec = study(text)
    assert count_goal(spec) == goal
    assert explain_goal(spec) == ""


@pytest.mark.parametrize(
    ("text", "is_over"),
    [
        (BASE, True),
        (FOUR + "budget: {trials: 3}", False),
        (FOUR + "budget: {trials: 4}", True),
        (FOUR + "budget: {trials: 9}", True),
        (FOUR + "budget: {trials: 4}\nsampler: {duplicates: reseed}", False),
        (FOUR + "sampler: {name: grid}", True),
        (BASE + "train: {l1: {low: 0, high: 1}}", False),
    ],
)
def test_a_space_that_is_all_tried_is_told_at_its_end(text: str, is_over: bool) -> None:
    assert bool(explain_end(study(text))) == is_over


@pytest.mark.parametrize(
    ("text", "settings"),
    [(FOUR + "sampler: {name: grid}", "4 settings"), (FOUR, "4 settings"), (BASE, "1 setting")],
)
def test_a_goal_below_the_budget_is_explained(text: str, settings: str) -> None:
    assert explain_goal(study(text + "\nbudget: {trials: 8}")) == (
        f"the space has {settings}, so the goal is not 8 trials; "
        "`sampler: {duplicates: reseed}` tries settings again, with other seeds"
    )
