"""The search space of a study: ranges, and anything that can suggest, -> :class:`TrialConfig`."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from sweeper.config import (
    DataConfig,
    FunctionConfig,
    ModelConfig,
    Scalar,
    TrainConfig,
    TrialConfig,
)
from sweeper.spec import Choices, IntRange, Range, Section, StudySpec

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
    absent = object()
    return any(
        all(params.get(name, absent) == value for name, value in setting.items())
        for setting in spec.forbid
    )


def grid_points(spec: StudySpec) -> Iterator[dict[str, Scalar]]:
    """Every allowed setting of a space without unstepped real ranges, by dotted name."""
    parts = [list(_section_points(section, name)) for name, section in spec.sections.items()]
    for combination in itertools.product(*parts):
        point = {name: value for part in combination for name, value in part.items()}
        if not is_forbidden(spec, point):
            yield point


def _draw(
    section: Section, path: str, suggest: Suggest, params: dict[str, Scalar]
) -> dict[str, Any]:
    """Key -> value of one section; every leaf is noted in ``params`` by its dotted name.

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
            option = str(drawn[key])
            branch = value.branches.get(option, {})
            overlay |= _draw(branch, f"{name}.{option}", suggest, params)
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


def _section_points(section: Section, path: str) -> Iterator[dict[str, Scalar]]:
    parts = [
        list(_value_points(value, f"{path}.{key}"))
        for key, value in section.items()
        if isinstance(value, Range | Mapping)
    ]
    for combination in itertools.product(*parts):
        yield {name: value for part in combination for name, value in part.items()}


def _value_points(value: Any, name: str) -> Iterator[dict[str, Scalar]]:
    if isinstance(value, Mapping):
        yield from _section_points(value, name)
    elif isinstance(value, Choices):
        for option in value.options:
            for point in _section_points(value.branches.get(str(option), {}), f"{name}.{option}"):
                yield {name: option, **point}
    elif isinstance(value, IntRange):
        for number in range(value.low, value.high + 1, value.step):
            yield {name: number}
    else:
        assert value.step is not None, f"{name} is not countable"
        n_steps = round((value.high - value.low) / value.step)
        for i in range(n_steps + 1):
            yield {name: value.low + i * value.step}
