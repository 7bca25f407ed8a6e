"""The JSON Schema of the study file, so that editors complete and check it."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import TypeAdapter

from sweeper.config.architecture_params import ARCHITECTURE_PARAMS
from sweeper.config.cluster import ClusterSpec
from sweeper.config.data_params import DATA_PARAMS
from sweeper.config.metrics import METRICS
from sweeper.config.scalars import field_defaults, field_types
from sweeper.config.settings import (
    CommandConfig,
    DataConfig,
    FunctionConfig,
    ModelConfig,
    TrainConfig,
)
from sweeper.config.study import (
    SEARCHABLE,
    BudgetSpec,
    PrunerSpec,
    RunSpec,
    SamplerSpec,
    TrackingSpec,
)
from sweeper.trial import Direction

_SETTINGS = {"type": ["array", "null"], "items": {"type": "object", "minProperties": 1}}


def study_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a study file. Looser than ``check``, never stricter."""
    keys = study_keys()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sweeper study",
        "type": "object",
        "if": {"required": ["defaults"]},
        "then": _closed({key: _laid_over(key, schema) for key, schema in keys.items()}),
        "else": _closed(keys),
        "$defs": {"range": _RANGE, "choices": _CHOICES},
    }


def _laid_over(key: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a file that builds on another, in which the rest of a section may stand."""
    if key in SEARCHABLE:
        return {"type": ["object", "null"]}
    if schema.get("type") != "object":
        return schema
    open_ = {name: part for name, part in schema.items() if name != "required"}
    return {**open_, "type": ["object", "null"]}


def study_keys() -> dict[str, Any]:
    """The schema of each key of a study file that builds on no other."""
    return {
        "defaults": _DEFAULTS,
        "name": _NAME,
        "objective": _objective(),
        "budget": _constants(BudgetSpec),
        "seed": _SEED,
        "sampler": _constants(SamplerSpec),
        "pruner": _constants(PrunerSpec),
        "data": {
            "type": "object",
            "required": ["name"],
            **_keys_if("name", DATA_PARAMS, DataConfig),
        },
        "model": {
            "type": "object",
            "required": ["architecture"],
            **_keys_if("architecture", ARCHITECTURE_PARAMS, ModelConfig),
        },
        "train": _train(),
        "forbid": {**_SETTINGS, "description": "Combinations of values that are never drawn"},
        "enqueue": _ENQUEUE,
        "warm_start": _WARM_START,
        "run": _constants(RunSpec),
        "tracking": _constants(TrackingSpec),
        "cluster": _constants(ClusterSpec),
        "storage": _STORAGE,
    }


def _objective() -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "metric": {
                **_one_or_more({"type": "string"}),
                "description": "What is optimised; a list for several metrics",
                "examples": list(METRICS),
                "default": "val_accuracy",
            },
            "direction": {
                **_one_or_more({"type": "string", "enum": list(get_args(Direction))}),
                "description": "One for each metric; default from the metric's name",
            },
        },
    }


def _train() -> dict[str, Any]:
    """The keys of the training that the section names: a function, a program, or the built-in."""
    function = _fields_of(FunctionConfig)
    built_in = {key: _searched(leaf) for key, leaf in _fields_of(TrainConfig).items()}
    return {
        "type": ["object", "null"],
        "if": {"required": ["function"]},
        "then": {"properties": {**function, "function": _searched(function["function"])}},
        "else": {
            "if": {"required": ["command"]},
            "then": {"properties": _fields_of(CommandConfig)},
            "else": _closed(built_in),
        },
    }


_DEFAULTS = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Files that this one builds on, seen from its folder",
}
_NAME = {
    "type": "string",
    "description": "Of the study in Optuna, the experiment in MLflow, the folder on disk; default "
    "the file's stem",
}
_SEED = {
    "type": "integer",
    "description": "Of the split, the samplers and, with its number, of each trial",
    "default": 0,
}
_ENQUEUE = {
    **_SETTINGS,
    "description": "Settings that are tried first; the rest of each is drawn",
}
_STORAGE = {
    "type": "string",
    "description": "Where Optuna keeps the study",
    "examples": ["auto", "postgresql+psycopg://...", "sqlite:///...", "grpc://host:13000"],
    "default": "auto",
}
_WARM_START = {
    "type": "object",
    "additionalProperties": False,
    "required": ["from"],
    "properties": {
        "from": {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["mlflow"],
                    "properties": {"mlflow": {"type": "string"}},
                },
            ],
            "description": "Whose trials the sampler begins with: the name of a study, the path "
            "of its file or folder, or an experiment in MLflow",
            "examples": ["other-study", "studies/other.yaml", {"mlflow": "experiment"}],
        },
        "rename": {
            "type": ["object", "null"],
            "additionalProperties": {"type": "string"},
            "description": "Names there: names here, of settings and metrics",
        },
    },
}
_RANGE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["low", "high"],
    "properties": {
        "low": {"type": "number"},
        "high": {"type": "number"},
        "step": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "log": {"type": "boolean"},
    },
}
_CHOICES = {
    "type": "object",
    "additionalProperties": False,
    "required": ["choices"],
    "properties": {
        "choices": {
            "anyOf": [{"type": "array", "minItems": 1}, {"type": "object", "minProperties": 1}]
        }
    },
}


def _one_or_more(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "array", "items": schema}]}


def _schema_of(declared: Any) -> dict[str, Any]:
    schema = TypeAdapter(declared).json_schema()
    parts = schema.pop("$defs", {})
    inlined: dict[str, Any] = _inlined(schema, parts)
    return inlined


def _inlined(schema: Any, parts: Mapping[str, Any]) -> Any:
    """With the named parts where they are referred to, as a leaf may stand anywhere."""
    if isinstance(schema, list):
        return [_inlined(inner, parts) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        others = {key: value for key, value in schema.items() if key != "$ref"}
        return {**_inlined(parts[schema["$ref"].removeprefix("#/$defs/")], parts), **others}
    return {key: _inlined(inner, parts) for key, inner in schema.items()}


def _fields_of(declared: type[Any]) -> dict[str, dict[str, Any]]:
    """The schema of every field of a dataclass but ``params``, with the default."""
    leaves = {
        name: _schema_of(kind) for name, kind in field_types(declared).items() if name != "params"
    }
    for name, value in field_defaults(declared).items():
        leaves[name]["default"] = value
    return leaves


def _constants(declared: type[Any]) -> dict[str, Any]:
    return {"type": "object", **_closed(_fields_of(declared))}


def _keys_if(
    key: str, built_in: Mapping[str, Mapping[str, Any]], own: type[Any]
) -> dict[str, Any]:
    """The keys of a section whose ``key`` names built-in things alone; else there may be more."""
    names = {"enum": list(built_in)}
    choices = {
        "anyOf": [{"type": "array", "items": names}, {"type": "object", "propertyNames": names}]
    }
    searched = {"type": "object", "required": ["choices"], "properties": {"choices": choices}}
    leaves = _fields_of(own)
    leaves[key]["examples"] = [*built_in, "package.module:function"]
    keys = {name: _searched(leaf) for name, leaf in leaves.items()}
    params = {name: _searched(*_takers(name, built_in)) for name in _param_names(built_in)}
    return {
        "properties": keys,
        "if": {"properties": {key: {"anyOf": [names, searched]}}},
        "then": _closed({**keys, **params}),
    }


def _param_names(built_in: Mapping[str, Mapping[str, Any]]) -> dict[str, None]:
    return {name: None for params in built_in.values() for name in params}


def _takers(name: str, built_in: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The schema of an argument, once for each meaning; it begins with who takes that one."""
    found: list[tuple[Any, list[str]]] = []
    for taker, params in built_in.items():
        if name in params:
            same = [takers for declared, takers in found if declared == params[name]]
            if same:
                same[0].append(taker)
            else:
                found.append((params[name], [taker]))
    leaves = []
    for declared, takers in found:
        leaf = _schema_of(declared)
        meaning = leaf["description"][:1].lower() + leaf["description"][1:]
        leaves.append({**leaf, "description": f"{', '.join(takers)}: {meaning}"})
    return leaves


def _closed(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {"properties": dict(keys), "additionalProperties": False}


def _searched(*leaves: Mapping[str, Any]) -> dict[str, Any]:
    """A constant, or a range in its place."""
    return {"anyOf": [*leaves, {"$ref": "#/$defs/range"}, {"$ref": "#/$defs/choices"}]}
