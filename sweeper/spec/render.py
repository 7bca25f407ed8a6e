"""A :class:`StudySpec` -> YAML text that reads back as the same study, passwords apart."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import yaml

from sweeper.config import DataConfig, TrainConfig
from sweeper.errors import redacted
from sweeper.spec.leaf import field_types
from sweeper.spec.ranges import Choices, FloatRange, IntRange, Section
from sweeper.spec.study import PRUNER_KEYS, StudySpec


def render_study(spec: StudySpec) -> str:
    """The resolved file: every default written out, ranges in place."""
    return yaml.safe_dump(plain_study(spec), sort_keys=False, width=99, allow_unicode=True)


def plain_study(spec: StudySpec) -> dict[str, Any]:
    """The resolved file as plain mappings, lists and scalars."""
    pruner = asdict(spec.pruner)
    return {
        "name": spec.name,
        "objective": {
            "metric": list(spec.objective.metrics),
            "direction": list(spec.objective.directions),
        },
        "budget": _present({"trials": spec.n_trials, "timeout": spec.budget.timeout}),
        "seed": spec.seed,
        "sampler": asdict(spec.sampler),
        "pruner": {key: pruner[key] for key in ("name", *PRUNER_KEYS[spec.pruner.name])},
        **{key: _plain(section) for key, section in _with_defaults(spec.sections).items()},
        "forbid": [dict(setting) for setting in spec.forbid],
        "enqueue": [dict(setting) for setting in spec.enqueue],
        "run": asdict(spec.run),
        "tracking": {**asdict(spec.tracking), "uri": redacted(spec.tracking.uri)},
        "storage": redacted(spec.storage),
    }


def _with_defaults(sections: Mapping[str, Section]) -> dict[str, Section]:
    declared: dict[str, type[Any]] = {"data": DataConfig} if "data" in sections else {}
    if "function" not in sections["train"]:
        declared["train"] = TrainConfig
    defaults = {
        key: _present({name: getattr(kind, name, None) for name in field_types(kind)})
        for key, kind in declared.items()
    }
    return {key: {**defaults.get(key, {}), **section} for key, section in sections.items()}


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, FloatRange | IntRange):
        ends = {"low": value.low, "high": value.high}
        if value.step not in (None, 1):
            ends["step"] = value.step
        return {**ends, "log": True} if value.log else ends
    if isinstance(value, Choices):
        if not value.branches:
            return {"choices": list(value.options)}
        return {"choices": {key: _plain(branch) for key, branch in value.branches.items()}}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return value
