"""Rules that look at more than one value of a study file."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from sweeper.config.command_rules import check_command
from sweeper.config.defaults import with_defaults
from sweeper.config.metrics import TASK_LOSSES, TASK_METRICS, metrics_but_of
from sweeper.config.problems import Fault, Problems, did_you_mean, shown
from sweeper.config.ranges import (
    Choices,
    FloatRange,
    Range,
    Section,
    contains,
    option_word,
    options_of,
    walk_values,
)
from sweeper.config.references import is_reference
from sweeper.config.render import render_range
from sweeper.config.run_rules import check_run
from sweeper.config.settings import Scalar
from sweeper.config.space import most_epochs
from sweeper.config.study import (
    FIXED,
    PRUNER_KEYS,
    StudySpec,
    fixed_keys,
    has_own_training,
)
from sweeper.trial import Task


def check_rules(spec: StudySpec, problems: Problems) -> None:
    """Note what does not fit together, of values that are valid one by one."""
    if "command" in spec.sections["train"]:
        check_command(spec, problems)
    problems.add_all(_faults(spec, problems), spec.origin)
    check_run(spec, problems)


def setting_fault(ranges: Mapping[str, Range], name: str, value: Scalar) -> str:
    """Why a value cannot be set for a range, or nothing.

    Args:
        ranges: Of the study file, by dotted name.
        name: Dotted; of no range perhaps.
        value: Of it.
    """
    if name not in ranges:
        hint = did_you_mean(name, ranges) or "; this file has no range"
        return f"is not searched{hint}"
    if not contains(ranges[name], value):
        return f"must lie within {render_range(ranges[name])}, got {shown(value)}"
    return ""


def _faults(spec: StudySpec, problems: Problems) -> Iterator[Fault]:
    """What breaks a rule; a value that has a problem already is left alone."""
    for name in FIXED:
        if name in spec.sections:
            section = spec.sections[name]
            yield from _branch_faults(section, name, fixed_keys(name, section))
    most = None if problems.concern("train.epochs") else most_epochs(spec)
    if not problems.concern("pruner"):
        yield from _pruner_faults(spec, most)
    yield from _train_faults(spec, most)
    yield from _task_faults(spec)
    yield from _sampler_faults(spec)
    yield from _setting_faults(spec, problems)
    yield from _warm_start_faults(spec)


def _branch_faults(section: Section, path: str, taken: tuple[str, ...]) -> Iterator[Fault]:
    """No key that a branch lays over its section may be ``taken`` or have branches itself."""
    branched = {
        key: value.branches
        for key, value in section.items()
        if isinstance(value, Choices) and value.branches
    }
    taken = (*taken, *branched)
    for key, branches in branched.items():
        for word, branch in branches.items():
            name = f"{path}.{key}.{word}"
            for inner in (inner for inner in branch if inner in taken):
                yield f"{name}.{inner}", "a branch cannot set this key"
            yield from _branch_faults(branch, name, taken)
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _branch_faults(value, f"{path}.{key}", ())


def _pruner_faults(spec: StudySpec, most: int | None) -> Iterator[Fault]:
    pruner = spec.pruner
    if len(spec.objective.metrics) > 1 and pruner.name != "none":
        yield "pruner.name", "several metrics cannot be pruned by; set it to none"
    takes = PRUNER_KEYS[pruner.name]
    for key in {key: None for keys in PRUNER_KEYS.values() for key in keys}:
        if f"pruner.{key}" in spec.origins and key not in takes:
            known = ", ".join(takes) or "no other key"
            yield f"pruner.{key}", f"{pruner.name} does not look at it; it takes {known}"
    least = pruner.min_epochs
    if least != "auto" and most is not None and "min_epochs" in takes and least > most:
        message = f"asks for {least} epochs, but train.epochs is {most}; lower one"
        yield "pruner.min_epochs", message


def _train_faults(spec: StudySpec, most: int | None) -> Iterator[Fault]:
    train = spec.sections["train"]
    if has_own_training(train):
        return
    warmup = train.get("warmup_epochs")
    longest = getattr(warmup, "high", warmup)
    if most is not None and isinstance(longest, float) and longest >= most:
        message = f"must be shorter than train.epochs={most}, got {longest:g}"
        yield "train.warmup_epochs", message
    has_weights = _has_key(spec.sections.get("model", {}), "weights")
    if train.get("backbone_rate", 1) != 1 and not has_weights:
        message = "no model.weights are there, so nobody looks at it; drop it, or set them"
        yield "train.backbone_rate", message
    if train.get("nesterov") is True and train.get("momentum") == 0:
        yield "train.nesterov", "needs train.momentum > 0; set one, or nesterov: false"


def _task_faults(spec: StudySpec) -> Iterator[Fault]:
    """What a task that the file states measures and minimises; others are inferred later."""
    data, train = spec.sections.get("data", {}), spec.sections["train"]
    if has_own_training(train):
        return
    if data.get("fallback") and (metrics := _unmeasured(spec, "classification")):
        message = f"the digits are classes, and nobody measures {metrics[0]} of them; drop it"
        yield "data.fallback", message
    stated = [task for task in TASK_METRICS if task == data.get("task")]
    if not stated:
        return
    [task] = stated
    for metric in _unmeasured(spec, task):
        known = ", ".join(TASK_METRICS[task])
        yield "objective.metric", f"nobody measures {metric} of {task}; there are {known}"
    losses = TASK_LOSSES[task]
    for name in options_of(train.get("loss")):
        if isinstance(name, str) and not is_reference(name) and name not in losses:
            message = f"{name} is no loss of {task}; it takes {', '.join(losses)}"
            yield "train.loss", message


def _unmeasured(spec: StudySpec, task: Task) -> list[str]:
    """Metrics of the objective that are another task's alone."""
    others = metrics_but_of([task])
    return [name for name in spec.objective.metrics if name in others]


def _sampler_faults(spec: StudySpec) -> Iterator[Fault]:
    name = spec.sampler.name
    if name == "grid":
        for path, values in spec.ranges().items():
            if isinstance(values, FloatRange) and values.step is None:
                message = "a grid needs a step, or choices, in place of every real number"
                yield path, message
    if name == "cmaes" and len(spec.objective.metrics) > 1:
        yield "sampler.name", f"{name} takes one metric; use conditional_gp, nsga2, tpe or gp"
    if name == "grid" and spec.enqueue:
        yield "enqueue", "a grid tries everything already; drop it"


def _setting_faults(spec: StudySpec, problems: Problems) -> Iterator[Fault]:
    for part in ("forbid", "enqueue"):
        for i, setting in enumerate(getattr(spec, part)):
            for name, value in setting.items():
                path = f"{part}[{i}].{name}"
                known = problems.concern(name) or problems.concern(path)
                if not known and (fault := setting_fault(spec.ranges(), name, value)):
                    yield path, fault
                elif not known and (choice := _missing_choice(spec, name, setting)):
                    yield path, f"is drawn only with {choice}; add that"
    forbidden = defaultdict(list)
    for setting in spec.forbid:
        forbidden[next(iter(setting.items()))].append(setting.items())
    for i, setting in enumerate(spec.enqueue):
        rules = (rule for item in setting.items() for rule in forbidden.get(item, ()))
        if any(rule <= setting.items() for rule in rules):
            yield f"enqueue[{i}]", "is ruled out by forbid; drop one of the two"


def _missing_choice(spec: StudySpec, name: str, setting: Mapping[str, Scalar]) -> str:
    """The choice on which the named range hangs, if the setting does not make it."""
    for other, values in spec.ranges().items():
        if not name.startswith(f"{other}."):
            continue
        for option in values.options if isinstance(values, Choices) else ():
            word = option_word(option)
            is_made = other in setting and option_word(setting[other]) == word
            if name.startswith(f"{other}.{word}.") and not is_made:
                return f"{other}: {word}"
    return ""


def _warm_start_faults(spec: StudySpec) -> Iterator[Fault]:
    warm = spec.warm_start
    if warm is None:
        return
    if warm.study == spec.name:
        message = "is this study itself; name the earlier one, or give the file a new `name:`"
        yield "warm_start.from", message
    settings = [name for name, *_ in walk_values(with_defaults(spec.sections))]
    known = [*settings, *spec.objective.metrics]
    for old, new in warm.rename.items():
        if new not in known:
            hint = did_you_mean(new, known)
            message = f"{shown(new)} is neither a setting of this file nor its metric{hint}"
            yield f"warm_start.rename.{old}", message


def _has_key(section: Section, key: str) -> bool:
    """Whether a section or one of its branches sets a key."""
    branches = [
        branch
        for value in section.values()
        if isinstance(value, Choices)
        for branch in value.branches.values()
    ]
    return key in section or any(_has_key(branch, key) for branch in branches)
