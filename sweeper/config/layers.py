"""Values of one study from several places, laid over each other: base files come below."""

from collections.abc import Sequence
from dataclasses import replace

from sweeper.config.yaml_source import Located

#: Keys of a range, which is one value.
_OF_RANGES = {"low", "high", "choices"}
#: Mappings that are one value, too: their keys belong together.
_WHOLE = ("data.validation", "data.test")


def lay_over(lower: Located, upper: Located) -> Located:
    """What both say, and of a key that both have what the upper says.

    Mappings are merged key by key. A range is one value, which takes the place of a constant or of
    another range as a whole. A section that is left empty says nothing.
    """
    if not _has_keys(lower) or upper.value is not None and not _has_keys(upper):
        return upper
    if upper.value is None:
        return lower
    merged = dict(lower.items())
    for key, value in upper.items():
        merged[key] = lay_over(merged[key], value) if key in merged else value
    return replace(upper, value=merged)


def _has_keys(item: Located) -> bool:
    """Whether it is a mapping of values, and none that is one value itself."""
    if not isinstance(item.value, dict) or item.path in _WHOLE:
        return False
    is_section = "." not in item.path  # in which a key of the user's own may be called so
    return is_section or not item.value.keys() & _OF_RANGES


def with_value(top: Located, keys: Sequence[str], value: Located) -> Located:
    """The same with a value laid over what ``keys`` lead to; null takes the place of anything."""
    key, *rest = keys
    inner = dict(top.value or {})
    below = inner.get(key)
    if rest:
        path = f"{top.path}.{key}" if top.path else key
        inner[key] = with_value(below or Located({}, value.origin, path), rest, value)
    elif below is None or value.value is None:
        inner[key] = value
    else:
        inner[key] = lay_over(below, value)
    return replace(top, value=inner)


def without(top: Located, keys: Sequence[str]) -> Located:
    """The same without what ``keys`` lead to; of the last one nothing may be there."""
    key, *rest = keys
    inner = dict(top.value)
    if rest:
        inner[key] = without(inner[key], rest)
    else:
        inner.pop(key, None)
    return replace(top, value=inner)
