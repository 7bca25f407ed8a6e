"""The JSON Schema of the study file, so that editors complete and check it."""

from typing import Any

from pydantic import TypeAdapter

from sweeper.config import (
    ARCHITECTURE_PARAMS,
    DATA_PARAMS,
    METRICS,
    DataConfig,
    ModelConfig,
    TrainConfig,
)
from sweeper.spec.leaf import field_types
from sweeper.spec.study import BudgetSpec, PrunerSpec, RunSpec, SamplerSpec, TrackingSpec

_SETTINGS = {"type": "array", "items": {"type": "object", "minProperties": 1}}


def study_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a study file. Looser than ``check``, never stricter."""
    words = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    model = {**field_types(ModelConfig)}
    for table in ARCHITECTURE_PARAMS.values():
        model |= table
    data = {**field_types(DataConfig)}
    for table in DATA_PARAMS.values():
        data |= table
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
            "data": _searchable(data),
            "model": _searchable(model),
            "train": _searchable({**field_types(TrainConfig), "function": str}),
            "forbid": _SETTINGS,
            "enqueue": _SETTINGS,
            "run": _constants(RunSpec),
            "tracking": _constants(TrackingSpec),
            "storage": {"type": "string", "description": "auto, or an Optuna storage URL"},
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
        "step": {"type": "number", "exclusiveMinimum": 0},
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


def _leaf(declared: Any) -> dict[str, Any]:
    return TypeAdapter(declared).json_schema()


def _constants(declared: type) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _leaf(kind) for key, kind in field_types(declared).items()},
    }


def _searchable(types: dict[str, Any]) -> dict[str, Any]:
    """Open to unknown keys: the user's own functions take what they like."""
    ranged = [{"$ref": "#/$defs/range"}, {"$ref": "#/$defs/choices"}]
    return {
        "type": "object",
        "properties": {
            key: {"anyOf": [_leaf(kind), *ranged]}
            for key, kind in types.items()
            if key != "params"
        },
    }
