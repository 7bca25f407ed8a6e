"""``train.epochs=3``, ``~train.l1``: what a command line lays over a file, in Hydra's form."""

import json
import re
from collections.abc import Sequence

from sweeper.config.layers import with_value, without
from sweeper.config.problems import Origin, Problems, did_you_mean, shown
from sweeper.config.scalars import came
from sweeper.config.urls import holds_password
from sweeper.config.yaml_source import DEEPEST, Located, load_value, parse_scalar

COMMAND_LINE = Origin("command line")
_PLAIN = re.compile(r"[\w.-]+")


def name_override(name: str) -> str:
    """The override by which a study gets another name."""
    is_plain = _PLAIN.fullmatch(name) and isinstance(parse_scalar(name), str)
    return f"name={name if is_plain else json.dumps(name)}"


def apply_overrides(
    top: Located, overrides: Sequence[str], problems: Problems, origin: Origin = COMMAND_LINE
) -> Located:
    """The values of a study with those of a command line laid over them, one after the other.

    ``KEY=VALUE`` sets a value, which is YAML as it stands in a file; ``~KEY`` drops one. ``KEY``
    is a dotted name as messages have it, so a branch is named without the word ``choices``.

    Args:
        top: All values of the file.
        overrides: What is laid over them.
        problems: Where what is wrong is noted.
        origin: Of the overrides.
    """
    met: set[str] = set()
    for override in overrides:
        if fault := _form_fault(override):
            problems.add(origin, "", f"{shown(override)}: {fault}")
            continue
        path, is_set, text = override.removeprefix("~").partition("=")
        try:
            if path in met:
                raise ValueError("given twice; keep one")
            keys = _find(top, path, is_there=not is_set)
        except ValueError as exc:
            problems.add(origin, path, str(exc))
            continue
        finally:
            met.add(path)
        if not is_set:
            top = without(top, keys)
        elif value := load_value(text, origin, ".".join(keys), problems):
            top = with_value(top, keys, value)
    return top


def _form_fault(override: str) -> str:
    """Why it is no override, or nothing."""
    key, is_set, text = override.partition("=")
    parts = key.removeprefix("~").split(".")
    if not override.isprintable():
        return "must be one line of printable text"
    if key.startswith("~") == bool(is_set) or not all(parts):
        return "must be KEY=VALUE, such as train.epochs=3, or ~KEY, which drops a key"
    if len(parts) > DEEPEST:
        return "nested too deep"
    if holds_password(text):
        return (
            "holds a password, which every user of a machine sees in a command line; write it "
            "into the file, or better into the environment"
        )
    return "must stand in a file" if parts[0] == "defaults" else ""


def _find(top: Located, path: str, *, is_there: bool) -> list[str]:
    """The keys that lead to a dotted name, of which the last need not be there.

    Raises:
        ValueError: If they lead nowhere; or to nothing, where something must be there.
    """
    keys: list[str] = []
    item, parts = top, path.split(".")
    for i, part in enumerate(parts):
        above = ".".join(parts[:i])
        if not isinstance(item.value, dict | None):
            raise ValueError(f"{above} is {came(item)}, which has no keys; set it as a whole")
        inner = item.value or {}
        if i > 1 and "choices" in inner and part not in inner:
            keys.append("choices")
            branches = inner["choices"].value
            inner = branches if isinstance(branches, dict) else {}
            if part not in inner:
                hint = did_you_mean(part, inner) or "; set it as a whole"
                raise ValueError(f"{above} has no branch {part!r}{hint}")
        if is_there and part not in inner:
            hint = did_you_mean(part, inner, otherwise="")
            raise ValueError(f"is not there, so it cannot be dropped{hint}")
        keys.append(part)
        item = inner.get(part, Located(None, item.origin, ""))
    return keys
