"""The search space of a study: ranges, and anything that can suggest, -> :class:`TrialConfig`."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from itertools import islice
from typing import Any

from sweeper.config.ranges import Choices, IntRange, Range, Section, option_word
from sweeper.config.settings import (
    DataConfig,
    FunctionConfig,
    ModelConfig,
    Scalar,
    TrainConfig,
    TrialConfig,
)
from sweeper.config.study import StudySpec

#: Draws a value of the range with that dotted name.
Suggest = Callable[[str, Range], Scalar]


def suggest_config(spec: StudySpec, suggest: Suggest, *, seed: int) -> TrialConfig:
    """One trial's settings.

    Args:
        spec: The study.
        suggest: Called once for each range that counts, an option before what hangs on it.
        seed: Of the trial.
    """
    params: dict[str, Scalar] = {}
    values = {
        name: _draw(section, name, suggest, params) for name, section in spec.sections.items()
    }
    train: TrainConfig | FunctionConfig = (
        _split(FunctionConfig, values["train"])
        if "function" in values["train"]
        else TrainConfig(**values["train"])
    )
    data = _split(DataConfig, values["data"]) if "data" in values else None
    model = _split(ModelConfig, values["model"]) if "model" in values else None
    for section, config in (("data", data), ("model", model), ("train", train)):
        if config is not None:
            params |= _defaults(section, config, values[section])
    return TrialConfig(params=params, data=data, model=model, train=train, seed=seed)


def first_value(name: str, values: Range) -> Scalar:
    """The first option or the lower end: a :data:`Suggest` for a look at a space."""
    return values.options[0] if isinstance(values, Choices) else values.low


def is_forbidden(spec: StudySpec, params: Mapping[str, Scalar]) -> bool:
    """Whether ``forbid`` rules the values out."""
    return any(
        all(name in params and _is_same(params[name], value) for name, value in setting.items())
        for setting in spec.forbid
    )


def grid_points(spec: StudySpec) -> Iterator[dict[str, Scalar]]:
    """Every allowed setting of a space without unstepped real ranges, by dotted name.

    Points come one by one, the last range drawn moving fastest. A range that a branch replaces
    is in no point of that branch.
    """
    return (point for point in _points_from(spec, {}) if not is_forbidden(spec, point))


def _points_from(spec: StudySpec, begun: Mapping[str, Scalar]) -> Iterator[dict[str, Scalar]]:
    """Every setting that goes on from the values of the ranges drawn first."""
    open_ranges: dict[str, Range] = {}

    def suggest(name: str, values: Range) -> Scalar:
        if name in begun:
            return begun[name]
        open_ranges[name] = values
        return first_value(name, values)

    suggest_config(spec, suggest, seed=0)
    if not open_ranges:
        yield dict(begun)
        return
    name, values = next(iter(open_ranges.items()))
    for value in _countable(values):
        yield from _points_from(spec, {**begun, name: value})


def _countable(values: Range) -> Iterator[Scalar]:
    if isinstance(values, Choices):
        return iter(values.options)
    if isinstance(values, IntRange):
        return iter(range(values.low, values.high + 1, values.step))
    assert values.step is not None, "a grid of real numbers has a step"
    low, step = values.low, values.step
    return (low + i * step for i in range(round((values.high - low) / step) + 1))


def _is_same(value: Scalar, other: Scalar) -> bool:
    # 0.1 + 2 * 0.1 of a stepped range is not the 0.3 that a file forbids.
    if isinstance(value, float) and isinstance(other, int | float):
        return math.isclose(value, other)
    return value == other


def count_goal(spec: StudySpec) -> int:
    """Finished trials to reach: the budget, or the whole grid if that is smaller or not given."""
    if spec.sampler.name != "grid":
        return spec.n_trials
    return sum(1 for _ in islice(grid_points(spec), spec.budget.trials))


def _draw(
    section: Section, path: str, suggest: Suggest, params: dict[str, Scalar]
) -> dict[str, Any]:
    """Key -> value of one section; every value is noted in ``params`` by its dotted name.

    Choices with branches come first: a key that the drawn branch sets is not drawn beside it.
    """
    branched = [key for key, value in section.items() if _has_branches(value)]
    drawn: dict[str, Any] = {}
    overlay: dict[str, Any] = {}
    for key in [*branched, *(key for key in section if key not in branched)]:
        if key in overlay:
            continue
        value, name = section[key], f"{path}.{key}"
        if isinstance(value, Mapping):
            drawn[key] = _draw(value, name, suggest, params)
            continue
        drawn[key] = suggest(name, value) if isinstance(value, Range) else value
        params[name] = str(value) if isinstance(value, list) else drawn[key]
        if isinstance(value, Choices):
            branch, word = value.branch(drawn[key]), option_word(drawn[key])
            overlay |= _draw(branch, f"{name}.{word}", suggest, params)
    return {**drawn, **overlay}


def _has_branches(value: object) -> bool:
    return isinstance(value, Choices) and bool(value.branches)


def _split(declared: type[Any], values: Mapping[str, Any]) -> Any:
    """Named keys as fields, every other key in ``params``."""
    named = {field.name for field in fields(declared)} - {"params"}
    return declared(
        **{key: value for key, value in values.items() if key in named},
        params={key: value for key, value in values.items() if key not in named},
    )


def _defaults(section: str, config: Any, drawn: Mapping[str, Any]) -> dict[str, Scalar]:
    values = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name not in drawn and field.name != "params"
    }
    return {f"{section}.{key}": value for key, value in values.items() if value is not None}
