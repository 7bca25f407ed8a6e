"""One constant of a study file against the type that declares it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from sweeper.config.problems import Problems, did_you_mean, shown
from sweeper.config.yaml_source import Located


def field_types(declared: type[Any]) -> Mapping[str, Any]:
    """Field name -> annotation of a dataclass, bounds included."""
    hints = get_type_hints(declared, include_extras=True)
    return {field.name: hints[field.name] for field in fields(declared)}


def field_defaults(declared: type[Any]) -> dict[str, Any]:
    """Field name -> default of a dataclass, of those whose default is a constant."""
    return {
        field.name: field.default
        for field in fields(declared)
        if field.default is not MISSING and field.default is not None
    }


def came(item: Located) -> str:
    """What stands there, in a few words."""
    if isinstance(item.value, dict | list):
        return "a mapping" if isinstance(item.value, dict) else "a list"
    return shown(item.value)


def read_constant(item: Located, declared: Any, problems: Problems) -> Any:
    """The constant, in the declared type; None after a problem was noted."""
    if isinstance(item.value, dict | list) and not holds_many(declared):
        problems.blame(item, f"must be one value, got {came(item)}")
        return None
    value, fault = check_constant(item.plain(), declared)
    if fault:
        problems.blame(item, fault)
    return value


def check_constant(given: Any, declared: Any) -> tuple[Any, str]:
    """A value in the declared type and nothing, or None and what is wrong with it."""
    try:
        value = TypeAdapter(declared).validate_python(given, strict=True)
    except ValidationError as exc:
        return None, _explain(exc, given)
    if isinstance(value, float) and not math.isfinite(value):
        return None, f"must be finite, got {value}"
    return value, ""


def holds_many(declared: Any) -> bool:
    """Whether a list or a mapping is what is declared."""
    if get_origin(declared) is Annotated:
        return holds_many(get_args(declared)[0])
    return get_origin(declared) in (list, dict) or any(map(holds_many, get_args(declared)))


def _explain(error: ValidationError, value: object) -> str:
    rules = []
    hint = ""
    for fault in error.errors():
        rule = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        rule = rule.removeprefix("must be ").replace("a valid number", "a number")
        rule = rule.replace("a valid integer", "a whole number").replace("a valid", "a")
        if fault["type"] in ("too_short", "too_long"):
            length = fault["ctx"].get("min_length", fault["ctx"].get("max_length"))
            rule = "a list that is not empty" if length == 1 else f"a list of {length}"
        rules.append(rule.replace("a boolean", "true or false"))
        if fault["type"] == "literal_error" and isinstance(value, str):
            expected = fault["ctx"]["expected"].replace("'", " ").split()
            hint = did_you_mean(value, expected, otherwise="")
        if fault["type"] == "string_type" and not isinstance(value, list | dict | None):
            hint = "; put it in quotes"
    return f"must be {' or '.join(dict.fromkeys(rules))}, got {shown(value)}{hint}"


def check_keys(item: Located, known: Iterable[str], problems: Problems) -> None:
    """Note every key of a mapping that is not a known one."""
    known = tuple(known)
    for key, value in item.items():
        if key not in known:
            problems.blame(value, f"unknown key{did_you_mean(key, known)}")


def read_fields(item: Located, declared: type[Any], problems: Problems) -> Any:
    """A mapping of constants as the dataclass that declares them; defaults after problems."""
    types = field_types(declared)
    values: dict[str, Any] = {}
    if not isinstance(item.value, dict):
        problems.blame(item, f"must be a mapping of {', '.join(types)}, got {came(item)}")
        return declared()
    check_keys(item, types, problems)
    for key, value in item.items():
        if key in types and (constant := read_constant(value, types[key], problems)) is not None:
            values[key] = constant
    return declared(**values)
