"""The JSON Schema of the study file, so that editors complete and check it."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from sweeper.config.cluster import ClusterSpec
from sweeper.config.scalars import field_types
from sweeper.config.settings import (
    ARCHITECTURE_PARAMS,
    DATA_PARAMS,
    METRICS,
    DataConfig,
    ModelConfig,
    TrainConfig,
)
from sweeper.config.study import BudgetSpec, PrunerSpec, RunSpec, SamplerSpec, TrackingSpec

_SETTINGS = {"type": ["array", "null"], "items": {"type": "object", "minProperties": 1}}


def study_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a study file. Looser than ``check``, never stricter."""
    words = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sweeper study",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "description": "Default: the file's stem"},
            "objective": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "metric": {**words, "examples": list(METRICS)},
                    "direction": {**words, "examples": ["minimize", "maximize"]},
                },
            },
            "budget": _constants(BudgetSpec),
            "seed": {"type": "integer"},
            "sampler": _constants(SamplerSpec),
            "pruner": _constants(PrunerSpec),
            "data": {
                "type": "object",
                "required": ["name"],
                **_keys_if("name", DATA_PARAMS, field_types(DataConfig)),
            },
            "model": {
                "type": "object",
                "required": ["architecture"],
                **_keys_if("architecture", ARCHITECTURE_PARAMS, field_types(ModelConfig)),
            },
            "train": {
                "type": ["object", "null"],
                "if": {"required": ["function"]},
                "then": {"properties": {"function": _searched(str)}},
                "else": _closed(
                    {key: _searched(kind) for key, kind in field_types(TrainConfig).items()}
                ),
            },
            "forbid": _SETTINGS,
            "enqueue": _SETTINGS,
            "run": _constants(RunSpec),
            "tracking": _constants(TrackingSpec),
            "cluster": _constants(ClusterSpec),
            "storage": {
                "type": "string",
                "description": "auto, an Optuna storage URL, or grpc://host:port",
            },
        },
        "$defs": {"range": _RANGE, "choices": _CHOICES},
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


def _schema_of(declared: Any) -> dict[str, Any]:
    return TypeAdapter(declared).json_schema()


def _constants(declared: type) -> dict[str, Any]:
    keys = {key: _schema_of(kind) for key, kind in field_types(declared).items()}
    return {"type": "object", **_closed(keys)}


def _keys_if(
    key: str, built_in: Mapping[str, Mapping[str, Any]], own: Mapping[str, Any]
) -> dict[str, Any]:
    """The keys of a section whose ``key`` names built-in things alone; else there may be more."""
    names = {"enum": list(built_in)}
    choices = {
        "anyOf": [{"type": "array", "items": names}, {"type": "object", "propertyNames": names}]
    }
    searched = {"type": "object", "required": ["choices"], "properties": {"choices": choices}}
    params = {name: kind for table in built_in.values() for name, kind in table.items()}
    keys = {name: _searched(kind) for name, kind in {**own, **params}.items() if name != "params"}
    return {
        "properties": {name: keys[name] for name in own if name in keys},
        "if": {"properties": {key: {"anyOf": [names, searched]}}},
        "then": _closed(keys),
    }


def _closed(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {"properties": dict(keys), "additionalProperties": False}


def _searched(declared: Any) -> dict[str, Any]:
    """A constant, or a range in its place."""
    return {
        "anyOf": [_schema_of(declared), {"$ref": "#/$defs/range"}, {"$ref": "#/$defs/choices"}]
    }
