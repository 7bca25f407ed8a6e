"""``objective``: which metrics count, and which way is better."""

from typing import get_args

from sweeper.config.metrics import DIRECTIONS, METRICS
from sweeper.config.names import metric_name_fault
from sweeper.config.problems import Problems, did_you_mean, shown
from sweeper.config.scalars import came, check_keys, read_constant
from sweeper.config.yaml_source import Located
from sweeper.trial import Direction, Objective


def read_objective(
    item: Located,
    problems: Problems,
    *,
    default: str,
    losses: tuple[str, ...],
    is_free: bool,
) -> Objective:
    """The objective.

    Args:
        item: The value of ``objective``, a mapping without keys where there is none.
        problems: Where what is wrong is noted.
        default: The metric of a file that names none.
        losses: That must be finite beside it.
        is_free: Whether code of the user's own reports what it likes.
    """
    if not isinstance(item.value, dict):
        problems.blame(item, f"must be a mapping of metric and direction, got {came(item)}")
        return Objective((), ())
    check_keys(item, ("metric", "direction"), problems)
    metric = item.value.get("metric", Located(default, item.origin, "objective.metric"))
    metrics = _words(metric, problems)
    if len(set(metrics)) < max(1, len(metrics)) and not problems.concern(metric.path):
        problems.blame(metric, "must be one metric or a list of different ones")
    for word in metrics:
        if not is_free and word not in METRICS:
            hint = did_you_mean(word, METRICS)
            problems.blame(metric, f"nobody reports {shown(word)}{hint}")
        elif fault := metric_name_fault(word, metrics):
            problems.blame(metric, f"{fault}, got {shown(word)}")
    if "direction" in item.value:
        directions = _directions(item.value["direction"], len(metrics), problems)
    else:
        directions = _natural_directions(metric, metrics, problems)
    return Objective(metrics, directions, losses=losses)


def _directions(item: Located, n_metrics: int, problems: Problems) -> tuple[Direction, ...]:
    known = get_args(Direction)
    words = _words(item, problems)
    for word in words:
        if word not in known:
            hint = did_you_mean(word, known, otherwise="")
            problems.blame(item, f"must be 'minimize' or 'maximize', got {shown(word)}{hint}")
    if len(words) != n_metrics and not problems.concern("objective"):
        problems.blame(item, f"must be one for each metric, got {len(words)} for {n_metrics}")
    return tuple(word for word in words if word in known)  # type: ignore[misc]


def _natural_directions(
    metric: Located, metrics: tuple[str, ...], problems: Problems
) -> tuple[Direction, ...]:
    unclear = [word for word in metrics if word not in DIRECTIONS]
    if unclear and not problems.concern(metric.path):
        message = f"is required, minimize or maximize: {shown(unclear[0])} does not tell"
        problems.add(metric.origin, "objective.direction", message)
    return tuple(DIRECTIONS[word] for word in metrics if word in DIRECTIONS)


def _words(item: Located, problems: Problems) -> tuple[str, ...]:
    items = item.value if isinstance(item.value, list) else [item]
    words = (read_constant(inner, str, problems) for inner in items)
    return tuple(word for word in words if word is not None)
