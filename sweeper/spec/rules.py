"""Rules that look at more than one value of a study file."""

from sweeper.config import Scalar
from sweeper.spec.problem import Problems, did_you_mean
from sweeper.spec.ranges import Choices, FloatRange, IntRange, Range
from sweeper.spec.study import PRUNER_KEYS, StudySpec


def check_rules(spec: StudySpec, problems: Problems) -> None:
    """Note what does not fit together in a file whose single values are all valid."""
    _check_pruner(spec, problems)
    _check_sampler(spec, problems)
    _check_settings(spec, problems)
    if spec.is_on_sqlite and spec.run.workers not in ("auto", 1):
        message = "claims on SQLite are not atomic; use storage: auto, PostgreSQL, or workers: 1"
        _add(spec, problems, "run.workers", message)


def contains(values: Range, value: Scalar) -> bool:
    """Whether a constant lies within a range."""
    if isinstance(values, Choices):
        return any(value == option and type(value) is type(option) for option in values.options)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(values, IntRange):
        on_grid = isinstance(value, int) and (value - values.low) % values.step == 0
        return values.low <= value <= values.high and on_grid
    return values.low <= value <= values.high


def _add(spec: StudySpec, problems: Problems, path: str, message: str) -> None:
    problems.add(spec.lines.get(path, spec.lines.get(path.split(".")[0], 1)), path, message)


def _check_pruner(spec: StudySpec, problems: Problems) -> None:
    pruner = spec.pruner
    if len(spec.objective.metrics) > 1 and pruner.name != "none":
        _add(spec, problems, "pruner.name", "several metrics cannot be pruned by; set it to none")
    for key in ("min_epochs", "reduction_factor", "percentile", "startup_trials", "patience"):
        if f"pruner.{key}" in spec.lines and key not in PRUNER_KEYS[pruner.name]:
            known = ", ".join(PRUNER_KEYS[pruner.name]) or "no other key"
            _add(
                spec,
                problems,
                f"pruner.{key}",
                f"{pruner.name} does not look at it; it takes {known}",
            )
    epochs = spec.sections["train"].get(
        "epochs", 10 if "function" not in spec.sections["train"] else None
    )
    most = max(
        (epochs.options if isinstance(epochs, Choices) else [getattr(epochs, "high", epochs)]),
        key=lambda n: n if isinstance(n, int) else 0,
    )
    if isinstance(most, int) and pruner.name != "none" and pruner.min_epochs > most:
        message = f"asks for {pruner.min_epochs} epochs, but train.epochs is {most}; lower one"
        _add(spec, problems, "pruner.min_epochs", message)


def _check_sampler(spec: StudySpec, problems: Problems) -> None:
    name = spec.sampler.name
    if name == "grid":
        for path, values in spec.ranges().items():
            if isinstance(values, FloatRange) and values.step is None:
                message = "a grid needs a step, or choices, in place of every real number"
                _add(spec, problems, path, message)
    if name == "cmaes" and len(spec.objective.metrics) > 1:
        _add(spec, problems, "sampler.name", "cmaes takes one metric; use nsga2, tpe or gp")
    if name == "grid" and spec.enqueue:
        _add(spec, problems, "enqueue", "a grid tries everything already; drop it")


def _check_settings(spec: StudySpec, problems: Problems) -> None:
    ranges = spec.ranges()
    for part, settings in (("forbid", spec.forbid), ("enqueue", spec.enqueue)):
        for setting in settings:
            for name, value in setting.items():
                if name not in ranges:
                    hint = did_you_mean(name, ranges) or "; this file searches nothing"
                    _add(spec, problems, part, f"{name!r} is not searched{hint}")
                elif not contains(ranges[name], value):
                    _add(spec, problems, part, f"{name}: {value!r} is not within {ranges[name]}")
