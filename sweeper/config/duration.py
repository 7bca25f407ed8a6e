"""Durations as people write them."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd])\s*")


def parse_duration(value: Any) -> Any:
    """Seconds of ``2h``, ``90m``, ``1h30m`` or a number of seconds; anything else is refused."""
    if isinstance(value, str) and re.fullmatch(rf"(?:{_DURATION.pattern})+", value.strip()):
        return sum(float(n) * _UNIT_S[unit] for n, unit in _DURATION.findall(value))
    if isinstance(value, str):
        raise ValueError("must be a duration such as 2h, 90m, 1h30m or 45s")
    return value


Duration = Annotated[
    float,
    Field(gt=0),
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}],
            "examples": ["2h", "90m"],
        }
    ),
]
