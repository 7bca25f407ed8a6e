"""The settings of a space: how many there are, each in turn, and which of them is meant."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, prod
from typing import Any

from sweeper.config.ranges import (
    Choices,
    IntRange,
    Range,
    Section,
    canonical,
    drawing_order,
    has_branches,
    option_word,
)
from sweeper.config.settings import Scalar
from sweeper.config.study import MOST_TRIALS, StudySpec
from sweeper.text import format_count

#: What ``forbid`` still wants of the ranges that have no value yet, a combination each; an empty
#: one is fulfilled.
_Rules = Sequence[Mapping[str, Scalar]]

#: Stands for every value of a range that no rule names, all of which are counted at once.
_OTHER: Any = object()


def count_settings(spec: StudySpec, most: int) -> int:
    """How many settings ``forbid`` allows, up to ``most``, which stands for an endless space too.

    Real numbers without a step make a space endless if some allowed setting has one of them.
    """
    return _count(spec.sections, {}, _rules(spec), most)


def count_goal(spec: StudySpec) -> int:
    """Finished trials to reach: the budget, or all settings if they are fewer.

    All of a grid without a budget; with ``sampler.duplicates: reseed`` always the budget.
    """
    is_whole_grid = spec.sampler.name == "grid" and spec.budget.trials is None
    if is_whole_grid:
        return count_settings(spec, MOST_TRIALS)
    if spec.sampler.duplicates == "reseed":
        return spec.n_trials
    return count_settings(spec, spec.n_trials)


def explain_goal(spec: StudySpec) -> str:
    """Why the goal is not the budget that the file sets; empty if it is."""
    goal, budget = count_goal(spec), spec.budget.trials
    if budget is None or goal == budget:
        return ""
    return (
        f"the space has {format_count(goal, 'setting')}, so the goal is not {budget} trials; "
        f"{_RESEED}"
    )


def explain_end(spec: StudySpec) -> str:
    """Why a larger budget would bring no more trials; empty if it would."""
    goal = count_goal(spec)
    if spec.sampler.duplicates == "reseed" or count_settings(spec, goal + 1) > goal:
        return ""
    return f"the space has {format_count(goal, 'setting')}, all tried; {_RESEED}"


_RESEED = "`sampler: {duplicates: reseed}` tries settings again, with other seeds"


def grid_points(
    spec: StudySpec, given: Mapping[str, Scalar] | None = None
) -> Iterator[dict[str, Scalar]]:
    """Every allowed setting of a space without unstepped real ranges, by dotted name.

    Points come one by one, the last range drawn moving fastest. A range that a branch replaces
    is in no point of that branch. What ``forbid`` rules out is left out whole, however much it is.

    Args:
        spec: The study.
        given: Values by dotted name: of these ranges, where they are drawn, no other is taken.
    """
    return _points_from(spec.sections, {}, _rules(spec), given or {})


def untried(
    spec: StudySpec,
    is_tried: Callable[[Mapping[str, Scalar]], bool],
    given: Mapping[str, Scalar] | None = None,
) -> Iterator[dict[str, Scalar]]:
    """The points of :func:`grid_points` that were not tried yet.

    Args:
        spec: The study.
        is_tried: Whether a setting was, values by dotted name.
        given: As in :func:`grid_points`.
    """
    return (point for point in grid_points(spec, given) if not is_tried(point))


def _rules(spec: StudySpec) -> _Rules:
    ranges = spec.ranges()
    return [
        {name: canonical(ranges[name], value) for name, value in setting.items()}
        for setting in spec.forbid
        if setting.keys() <= ranges.keys()  # on fallback data there may be fewer
    ]


def _points_from(
    sections: Mapping[str, Section],
    begun: Mapping[str, Scalar],
    rules: _Rules,
    given: Mapping[str, Scalar],
) -> Iterator[dict[str, Scalar]]:
    """Every setting that goes on from the values of the ranges drawn first."""
    open_ranges = _open_ranges(sections, begun)
    is_free = not rules and not any(map(has_branches, open_ranges.values()))
    if is_free or not open_ranges:
        if all(rules):
            yield from ({**begun, **rest} for rest in _combined([*open_ranges.items()], given))
    elif _count(sections, begun, rules, 1):
        name, values = next(iter(open_ranges.items()))
        for value in _options(name, values, given):
            narrowed = _narrowed(rules, name, canonical(values, value))
            yield from _points_from(sections, {**begun, name: value}, narrowed, given)


def _combined(
    ranges: Sequence[tuple[str, Range]], given: Mapping[str, Scalar]
) -> Iterator[dict[str, Scalar]]:
    """Every combination of values of ranges that have nothing to do with each other."""
    if not ranges:
        yield {}
        return
    (name, values), *others = ranges
    for value in _options(name, values, given):
        for rest in _combined(others, given):
            yield {name: value, **rest}


def _count(
    sections: Mapping[str, Section], begun: Mapping[str, Scalar], rules: _Rules, most: int
) -> int:
    """Allowed settings that go on from these values, up to ``most``.

    A range is taken apart only if it has branches or is in a rule beside others: into the values
    that such rules name and all others at once. So time goes by the rules, not by the settings.
    """
    if not all(rules):
        return 0
    parts = {
        name: _parts(values, [(rule[name], len(rule)) for rule in rules if name in rule], most)
        for name, values in _open_ranges(sections, begun).items()
    }
    if not all(parts.values()):
        return 0
    apart = [name for name, found in parts.items() if found[-1][0] is not _OTHER]
    if not apart:
        return min(prod(n_alike for [(_, n_alike)] in parts.values()), most)
    total = 0
    name = min(apart, key=lambda name: len(parts[name]))
    for value, n_alike in parts[name]:
        if total < most:
            narrowed, wanted = _narrowed(rules, name, value), ceil((most - total) / n_alike)
            total += n_alike * _count(sections, {**begun, name: value}, narrowed, wanted)
    return min(total, most)


def _parts(
    values: Range, named: Sequence[tuple[Scalar, int]], endless: int
) -> list[tuple[Scalar, int]]:
    """The values that a range may still have, those that count alike as one.

    Args:
        values: The range.
        named: Values that rules want of it, each with how many values that rule wants in all.
        endless: What real numbers without a step count as.

    Returns:
        Values, each with how many are like it; the others first, as they are most of it.
    """
    barred = {value for value, n_wanted in named if n_wanted == 1}
    if isinstance(values, Choices) and values.branches:
        return [(option, 1) for option in values.options if option not in barred]
    apart = {value for value, _ in named} - barred
    n_named = len(barred) + len(apart)
    n_others = _size(values, endless + n_named) - n_named
    others = [(_OTHER, n_others)] if n_others > 0 else []
    return [*others, *((value, 1) for value in apart)]


def _narrowed(rules: _Rules, name: str, value: Scalar) -> _Rules:
    """What is left of the rules once a range has its value; none of those that want another."""
    return [
        {other: wanted for other, wanted in rule.items() if other != name}
        for rule in rules
        if name not in rule or rule[name] == value
    ]


def _open_ranges(sections: Mapping[str, Section], begun: Mapping[str, Scalar]) -> dict[str, Range]:
    """Ranges without a value that are drawn whatever the others take, in the order of drawing."""
    found: dict[str, Range] = {}
    for path, section in sections.items():
        _collect(section, path, begun, found)
    return found


def _collect(
    section: Section, path: str, begun: Mapping[str, Scalar], found: dict[str, Range]
) -> set[str]:
    """Put the open ranges of a section into ``found``.

    Returns:
        The keys that it may lay over the section around it, should it be a branch.
    """
    laid_over: set[str] = set()
    for key in drawing_order(section):
        if key in laid_over:
            continue
        value, name = section[key], f"{path}.{key}"
        is_open = name not in begun
        if isinstance(value, Mapping):
            _collect(value, name, begun, found)
        elif isinstance(value, Range) and is_open:
            found[name] = value
        if has_branches(value):
            inside: dict[str, Range] = {} if is_open else found
            for option in value.options if is_open else (begun[name],):
                branch, below = value.branch(option), f"{name}.{option_word(option)}"
                laid_over |= _collect(branch, below, begun, inside)
    return {*section, *laid_over}


def _size(values: Range, endless: int) -> int:
    """How many values a range has; ``endless`` for real numbers without a step."""
    if isinstance(values, Choices):
        return len(set(values.options))
    if values.step is None:
        return endless
    return round((values.high - values.low) / values.step) + 1


def _options(name: str, values: Range, given: Mapping[str, Scalar]) -> Iterator[Scalar]:
    """The values of a range in their order; the given one alone, if there is one."""
    if name in given:
        return iter((given[name],))
    if isinstance(values, Choices):
        return iter(dict.fromkeys(values.options))
    if isinstance(values, IntRange):
        return iter(range(values.low, values.high + 1, values.step))
    assert values.step is not None, "a grid of real numbers has a step"
    low, step = values.low, values.step
    return (low + i * step for i in range(_size(values, 0)))
