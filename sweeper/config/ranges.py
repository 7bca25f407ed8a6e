"""What may stand where a constant stands: a range, or a choice."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.config.settings import Scalar

#: Of a step, what a value may be off it.
_OFF = 1e-6


@dataclass(frozen=True)
class FloatRange:
    """Real numbers in [low, high], in steps from ``low`` if ``step`` is given."""

    low: float
    high: float
    step: float | None = None
    log: bool = False


@dataclass(frozen=True)
class IntRange:
    """Whole numbers in [low, high], in steps from ``low``."""

    low: int
    high: int
    step: int = 1
    log: bool = False


@dataclass(frozen=True)
class Choices:
    """One of several constants; a branch's own keys count only when its option is drawn.

    A drawn branch's keys are laid over the keys beside the choice, so ``mlp: {depth: 2}`` under
    ``model.architecture`` sets the model's ``depth``. Branches are kept by the option's word.
    """

    options: tuple[Scalar, ...]
    branches: Mapping[str, "Section"] = field(default_factory=dict)

    def branch(self, option: Scalar) -> "Section":
        """What hangs on an option; empty for most."""
        return self.branches.get(option_word(option), {})


def option_word(option: Scalar) -> str:
    """An option as a study file spells it, which is its branch's part of a dotted name."""
    return json.dumps(option) if option is None or isinstance(option, bool) else str(option)


Range = FloatRange | IntRange | Choices
#: A constant (lists and nested mappings included), or a range.
Value = Any
#: Keys of one part of the study file, ranges included.
Section = Mapping[str, Value]
#: What is the same of the same settings, see :func:`setting_key`.
Setting = frozenset[tuple[str, Scalar]]


def has_branches(value: object) -> bool:
    """Whether what stands in a section is a choice, some option of which has keys of its own."""
    return isinstance(value, Choices) and bool(value.branches)


def options_of(value: Value) -> tuple[Scalar, ...]:
    """What a choice may be; of anything else, itself."""
    return value.options if isinstance(value, Choices) else (value,)


def drawing_order(section: Section) -> list[str]:
    """Its keys, choices with branches first: a key that the drawn branch sets is not drawn."""
    return sorted(section, key=lambda key: not has_branches(section[key]))


def canonical(values: Range, value: Scalar) -> Scalar:
    """The range's own number for a value of it; what is no step of real numbers stays as it is.

    0.1 + 2 * 0.1 is not the 0.3 that a study file names, nor what a sampler computes for it.
    """
    if not isinstance(values, FloatRange) or values.step is None:
        return value
    assert isinstance(value, int | float)
    return values.low + round((value - values.low) / values.step) * values.step


def contains(values: Range, value: Scalar) -> bool:
    """Whether a constant lies within a range."""
    if isinstance(values, Choices):
        return any(
            value == option and isinstance(value, bool) == isinstance(option, bool)
            for option in values.options
        )
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(values, IntRange) and not isinstance(value, int):
        return False
    if values.step is None:
        return values.low <= value <= values.high
    # In steps, as 0.1 + 2 * 0.1 is more than a high of 0.3.
    n_steps, n_most = ((end - values.low) / values.step for end in (value, values.high))
    is_step = math.isclose(n_steps, round(n_steps), abs_tol=_OFF)
    return is_step and -_OFF <= n_steps <= n_most + _OFF


def setting_key(ranges: Mapping[str, Range], setting: Mapping[str, Scalar]) -> Setting:
    """What is the same of the same settings, however their values were computed.

    Args:
        ranges: Of the study, by dotted name.
        setting: Values by dotted name.
    """
    return frozenset(
        (name, canonical(ranges[name], value) if name in ranges else value)
        for name, value in setting.items()
    )


def walk_values(sections: Mapping[str, Section]) -> Iterator[tuple[str, str, Value]]:
    """Every value of a study, constants and those of branches included, in file order.

    Yields:
        Its dotted name; the name that it has once its branch is drawn, as
        ``model.architecture.mlp.depth`` sets ``model.depth``; and the value.
    """
    return _walk(sections, "", "")


def _walk(section: Section, above: str, drawn: str) -> Iterator[tuple[str, str, Value]]:
    for key, value in section.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            yield from _walk(value, f"{name}.", f"{drawn}{key}.")
            continue
        yield name, f"{drawn}{key}", value
        if isinstance(value, Choices):
            for word, branch in value.branches.items():
                yield from _walk(branch, f"{name}.{word}.", drawn)


def walk_branches(sections: Mapping[str, Section]) -> Iterator[tuple[str, list[str]]]:
    """What is searched in every trial, then what is searched in each branch, by dotted name.

    Yields:
        ``("", names)``, then ``("model.architecture = mlp", names)`` for each branch that searches
        something of its own; with the names of all trials, and of the branches around it.
    """
    common = [name for key, section in sections.items() for name in _in_all(section, key)]
    yield "", common
    for path, section in sections.items():
        yield from _branches(section, path, common)


def _branches(section: Section, path: str, around: list[str]) -> Iterator[tuple[str, list[str]]]:
    for key, value in section.items():
        name = f"{path}.{key}"
        if isinstance(value, Mapping):
            yield from _branches(value, name, around)
        elif isinstance(value, Choices):
            for word, branch in value.branches.items():
                inner = f"{name}.{word}"
                if own := list(_in_all(branch, inner)):
                    yield f"{name} = {word}", [*around, *own]
                yield from _branches(branch, inner, [*around, *own])


def _in_all(section: Section, path: str) -> Iterator[str]:
    """Names below ``section`` that no branch of it has instead, or as its own."""
    choices = [value for value in section.values() if isinstance(value, Choices)]
    hidden = {key for value in choices for branch in value.branches.values() for key in branch}
    for key, value in section.items():
        if isinstance(value, Range) and key not in hidden:
            yield f"{path}.{key}"
        elif isinstance(value, Mapping):
            yield from _in_all(value, f"{path}.{key}")
