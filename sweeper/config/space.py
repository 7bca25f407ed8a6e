"""The search space of a study: ranges, and anything that can suggest, -> :class:`TrialConfig`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from sweeper.config.ranges import (
    Choices,
    FloatRange,
    Range,
    Section,
    drawing_order,
    option_word,
    options_of,
)
from sweeper.config.scalars import field_defaults
from sweeper.config.settings import (
    CommandConfig,
    DataConfig,
    FunctionConfig,
    ModelConfig,
    Scalar,
    TrainConfig,
    TrialConfig,
)
from sweeper.config.study import StudySpec, has_own_training

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
    data = _split(DataConfig, values["data"]) if "data" in values else None
    model = _split(ModelConfig, values["model"]) if "model" in values else None
    train = _train(values["train"])
    for section, config in (("data", data), ("model", model), ("train", train)):
        for key, default in field_defaults(type(config)).items() if config else ():
            if key not in values[section]:
                params[f"{section}.{key}"] = default
    return TrialConfig(params=params, data=data, model=model, train=train, seed=seed)


def _train(values: Mapping[str, Any]) -> TrainConfig | FunctionConfig | CommandConfig:
    if "command" in values:
        config: CommandConfig = _split(CommandConfig, values)
        return config
    if "function" in values:
        function: FunctionConfig = _split(FunctionConfig, values)
        return function
    return TrainConfig(**values)


def first_value(name: str, values: Range) -> Scalar:
    """The first option or the lower end: a :data:`Suggest` for a look at a space."""
    return values.options[0] if isinstance(values, Choices) else values.low


def is_forbidden(spec: StudySpec, params: Mapping[str, Scalar]) -> bool:
    """Whether ``forbid`` rules the values out."""
    ranges = spec.ranges()
    return any(
        all(
            name in params and name in ranges and _is_same(ranges[name], params[name], value)
            for name, value in setting.items()
        )
        for setting in spec.forbid
    )


def _is_same(values: Range, value: Scalar, other: Scalar) -> bool:
    # 0.1 + 2 * 0.1 of a stepped range is not the 0.3 that a file forbids, nor -0.1 + 0.1 its 0.
    if isinstance(values, FloatRange):
        assert isinstance(value, int | float)
        assert isinstance(other, int | float)
        return math.isclose(value, other, abs_tol=(values.step or 0.0) * 1e-6)
    return value == other


def most_epochs(spec: StudySpec) -> int | None:
    """Epochs of the longest trial; None where only the user's own training knows."""
    train = spec.sections["train"]
    default = {} if has_own_training(train) else {"epochs": TrainConfig.epochs}
    return max((n for n in _lengths({**default, **train}) if n is not None), default=None)


def _lengths(section: Section) -> set[int | None]:
    """The most that ``epochs`` may be in a section, by branches; None where nothing sets it."""
    laid_over = [
        {n for branch in value.branches.values() for n in _lengths(branch)}
        for value in section.values()
        if isinstance(value, Choices) and value.branches
    ]
    found: set[int | None] = set().union(*laid_over)
    if all(None in lengths for lengths in laid_over):
        found.add(_longest(section.get("epochs")))
    return found


def _longest(epochs: object) -> int | None:
    """Of a constant or a range; None unless it is a number of epochs."""
    highest = [getattr(option, "high", option) for option in options_of(epochs)]
    whole = [n for n in highest if isinstance(n, int) and not isinstance(n, bool) and n >= 1]
    return max(whole, default=None)


def _draw(
    section: Section, path: str, suggest: Suggest, params: dict[str, Scalar]
) -> dict[str, Any]:
    """Key -> value of one section; every value is noted in ``params`` by its dotted name."""
    drawn: dict[str, Any] = {}
    overlay: dict[str, Any] = {}
    for key in drawing_order(section):
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


def _split(declared: type[Any], values: Mapping[str, Any]) -> Any:
    """Named keys as fields, every other key in ``params``."""
    named = {field.name for field in fields(declared)} - {"params"}
    return declared(
        **{key: value for key, value in values.items() if key in named},
        params={key: value for key, value in values.items() if key not in named},
    )
