"""What may stand where a constant stands: a range, or a choice."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.config import Scalar


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
    ``model.architecture`` sets the model's ``depth``.
    """

    options: tuple[Scalar, ...]
    branches: Mapping[str, "Section"] = field(default_factory=dict)


Range = FloatRange | IntRange | Choices
#: A constant (lists and nested mappings included), or a range.
Value = Any
#: Keys of one part of the study file, ranges included.
Section = Mapping[str, Value]


def walk_ranges(section: Section, path: str) -> Iterator[tuple[str, Range]]:
    """Every range below ``section`` with its dotted path, in file order, branches included."""
    for key, value in section.items():
        name = f"{path}.{key}"
        if isinstance(value, Range):
            yield name, value
        if isinstance(value, Choices):
            for option, branch in value.branches.items():
                yield from walk_ranges(branch, f"{name}.{option}")
        elif isinstance(value, Mapping):
            yield from walk_ranges(value, name)
