"""A :class:`StudySpec` -> YAML text that reads back as the same study, passwords apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from sweeper.config.defaults import with_defaults
from sweeper.config.overrides import apply_overrides
from sweeper.config.problems import Problems
from sweeper.config.ranges import Choices, FloatRange, IntRange, Range
from sweeper.config.settings import Scalar
from sweeper.config.study import PRUNER_KEYS, StudySpec
from sweeper.config.study_files import load_study_file, read_text
from sweeper.config.yaml_source import load_source, parse_scalar
from sweeper.text import redacted


def render_study(spec: StudySpec) -> str:
    """The resolved file: every default written out, ranges in place.

    Not how its jobs are submitted, which changes no trial, and may say passwords to a shell.
    """
    return _dump(plain_study(spec))


def render_public(resolved: str) -> str:
    """A resolved file as it may leave this machine: without secrets, as far as they can be told.

    Args:
        resolved: Its text; of older code it says how jobs are submitted.

    Raises:
        SpecError: If it is no study file.
    """
    problems = Problems()
    source = load_source(resolved, "study.yaml", problems)
    problems.raise_if_any()
    assert source is not None
    kept = {key: _public(item.plain()) for key, item in source.items() if key != "cluster"}
    return redacted(_dump(kept))  # once more, as a name and its value meet here


def render_whole(path: Path, overrides: Sequence[str]) -> str:
    """A study file as it stands alone: the very text if it does, else with all laid over it.

    Args:
        path: Of the file, which is valid.
        overrides: Of the command line.
    """
    problems = Problems()
    text = read_text(path)
    source = load_source(text, str(path), problems)
    if source is not None and "defaults" not in source.value and not overrides:
        return text
    whole = load_study_file(path, problems)
    problems.raise_if_any()
    assert whole is not None
    return _dump(apply_overrides(whole, overrides, problems).plain())


def _public(value: Any) -> Any:
    """Each text as it is, before YAML puts quotes and escapes into it."""
    if isinstance(value, dict):
        return {key: _public(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_public(inner) for inner in value]
    return redacted(value) if isinstance(value, str) else value


def _dump(plain: Mapping[str, Any]) -> str:
    text: str = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, width=99, allow_unicode=True)
    return text


def render_setting(setting: Mapping[str, Scalar]) -> str:
    """Values by name as a study file has them, such as an item of ``enqueue``, on one line."""
    text: str = yaml.dump(
        dict(setting), Dumper=_Dumper, sort_keys=False, default_flow_style=True, width=math.inf
    )
    return text.strip()


def render_range(values: Range) -> str:
    """A range as a study file has it, on one line and without branches."""
    if isinstance(values, Choices):
        values = Choices(values.options)
    text = yaml.safe_dump(plain_value(values), sort_keys=False, default_flow_style=True, width=999)
    return text.strip()


class _Dumper(yaml.SafeDumper):
    """Quotes every text that :mod:`sweeper.config.yaml_source` would read as something else.

    PyYAML's own rules are those of YAML 1.1, where ``1e-4`` is a text already.
    """

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """A text, in quotes where it is no text to YAML 1.2 or not one line of printable signs."""
        is_plain = text.isprintable() and isinstance(parse_scalar(text), str)
        style = None if is_plain else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def plain_study(spec: StudySpec) -> dict[str, Any]:
    """The resolved file as plain mappings, lists and scalars."""
    pruner = asdict(spec.pruner)
    # The size of a grid is counted by those who need it.
    trials = spec.budget.trials if spec.sampler.name == "grid" else spec.n_trials
    return {
        "name": spec.name,
        "objective": {
            "metric": list(spec.objective.metrics),
            "direction": list(spec.objective.directions),
        },
        "budget": _present({**asdict(spec.budget), "trials": trials}),
        "seed": spec.seed,
        "sampler": asdict(spec.sampler),
        "pruner": {key: pruner[key] for key in ("name", *PRUNER_KEYS[spec.pruner.name])},
        **{key: plain_value(section) for key, section in with_defaults(spec.sections).items()},
        "forbid": [dict(setting) for setting in spec.forbid],
        "enqueue": [dict(setting) for setting in spec.enqueue],
        **_plain_warm_start(spec),
        "run": _present(asdict(spec.run)),
        "tracking": {**asdict(spec.tracking), "uri": redacted(spec.tracking.uri)},
        "storage": redacted(spec.storage),
    }


def _plain_warm_start(spec: StudySpec) -> dict[str, Any]:
    """Nothing where there is none, as of studies that older code began."""
    warm = spec.warm_start
    if warm is None:
        return {}
    source = {"mlflow": warm.experiment} if warm.experiment else warm.study
    rename = {"rename": dict(warm.rename)} if warm.rename else {}
    return {"warm_start": {"from": source, **rename}}


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def plain_value(value: Any) -> Any:
    """A constant, a range or a section as plain mappings, lists and scalars."""
    if isinstance(value, FloatRange | IntRange):
        defaults = {"step": 1 if isinstance(value, IntRange) else None, "log": False}
        return {
            key: part
            for key, part in asdict(value).items()
            if key not in defaults or part != defaults[key]
        }
    if isinstance(value, Choices):
        if not value.branches:
            return {"choices": list(value.options)}
        return {"choices": {word: plain_value(branch) for word, branch in value.branches.items()}}
    if isinstance(value, Mapping):
        return {key: plain_value(inner) for key, inner in value.items()}
    return value
