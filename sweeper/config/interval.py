"""``{low, high}``, with ``step`` or ``log``, -> the range it means."""

import math
from typing import Any

from sweeper.config.problems import Problems, shown
from sweeper.config.ranges import FloatRange, IntRange
from sweeper.config.scalars import check_keys, read_constant
from sweeper.config.yaml_source import Located


def read_interval(
    item: Located, declared: Any, problems: Problems
) -> FloatRange | IntRange | None:
    """The range, its ends checked as constants of the declared type; None after a problem.

    Whole ends make a range of integers, unless the type, or a fractional step, says otherwise.
    """
    check_keys(item, ("low", "high", "step", "log"), problems)
    nodes = item.value
    for end in ("low", "high"):
        if end not in nodes:
            problems.blame(item, f"a range needs `{end}` too")
            return None
    low, high = (
        read_constant(Located(nodes[end].value, nodes[end].origin, item.path), declared, problems)
        for end in ("low", "high")
    )
    if not (_is_number(low) and _is_number(high)):
        if not problems.concern(item.path):
            came = f"low={shown(low)} high={shown(high)}"
            problems.blame(item, f"the ends must be numbers, got {came}")
        return None
    step_node = nodes.get("step", Located(None, item.origin, item.path))
    is_whole = isinstance(low, int) and isinstance(high, int)
    if declared is Any:
        is_whole &= isinstance(step_node.value, int | None)
    step = read_constant(step_node, (int if is_whole else float) | None, problems)
    log = read_constant(nodes["log"], bool, problems) if "log" in nodes else False
    if fault := _fault(low, high, step, log):
        problems.blame(item, fault)
        return None
    if is_whole:
        return IntRange(low, high, 1 if step is None else step, bool(log))
    return FloatRange(float(low), float(high), step, bool(log))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fault(low: float, high: float, step: float | None, log: bool | None) -> str:
    """Why the range makes no sense, or nothing."""
    if low >= high:
        return f"low must be < high, got low={low} high={high}"
    if not math.isfinite(high - low):
        return f"the ends are too far apart, got low={low} high={high}"
    if log and low <= 0:
        return f"a log range needs low > 0, got low={low}"
    if step is None:
        return ""
    if log:
        return "log and step exclude each other; drop one"
    if not 0 < step <= high - low:
        return f"step must lie in (0, high - low], got {step}"
    n_steps = (high - low) / step
    if not math.isfinite(n_steps) or abs(n_steps - round(n_steps)) > 1e-6:
        return f"step {step} does not lead from low={low} to high={high}"
    return ""
