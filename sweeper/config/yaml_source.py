"""YAML text -> a tree in which every value knows where it was given, and its dotted path."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import yaml

from sweeper.config.problems import Origin, Problems, shown
from sweeper.config.settings import Scalar

#: Aliases make a small text unfold into a huge tree; no study file comes near this.
_MOST_NODES = 100_000
DEEPEST = 50
_TOO_BIG = "nested too deep, or aliases unfold without end"

# YAML 1.2's core schema. PyYAML's own is 1.1: `1e-4` a text, `on` a bool, `1:30` the number 90.
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_BASES = {"0o": 8, "0x": 16}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}

#: What escapes in quotes can make, and no file name, database or terminal takes.
_UNSTORABLE = re.compile("[\\0\ud800-\udfff]")

_UNTAGGED = "untagged"


class _Loader(yaml.SafeLoader):
    """Composes nodes without guessing types, so that every tag left is one the file wrote."""

    def resolve(self, kind: object, value: object, implicit: object) -> str:  # noqa: D102
        return _UNTAGGED


@dataclass(frozen=True)
class Located:
    """A value of a study.

    Attributes:
        value: A scalar, a list of ``Located``, or a dict of key -> ``Located``.
        origin: Where its key, or the item itself, stands.
        path: Dotted path from the top, empty for the whole.
    """

    value: Any
    origin: Origin
    path: str

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def walk(self) -> Iterator["Located"]:
        """Itself and all that it holds, in file order."""
        yield self
        held = self.value.values() if isinstance(self.value, dict) else self.value
        for item in held if isinstance(self.value, dict | list) else ():
            yield from item.walk()

    def items(self) -> Iterator[tuple[str, "Located"]]:
        """Key and value of a mapping, in file order."""
        assert isinstance(self.value, dict)
        return iter(self.value.items())


def load_source(text: str, file: str, problems: Problems) -> Located | None:
    """Parse a study file's text.

    Args:
        text: Of the file.
        file: Its path as the user gave it.
        problems: Where what is wrong is noted.

    Returns:
        The mapping at the top of the file, or None when the text is not readable YAML at all
        (which is then in ``problems``). Lesser faults, such as duplicate keys, are collected
        and the rest of the tree is returned.
    """
    top = _load(text, partial(Origin, file), "", problems)
    if top is None or isinstance(top.value, dict):
        return top
    problems.add(top.origin, "", "a study file is a mapping of keys such as `model:` and `train:`")
    return None


def load_value(text: str, origin: Origin, path: str, problems: Problems) -> Located | None:
    """As :func:`load_source`, for a single value: what stands behind ``key:`` in a file.

    Args:
        text: Its YAML; nothing is null.
        origin: Of all that it holds.
        path: Its dotted path.
        problems: Where what is wrong is noted.
    """
    return _load(text, lambda _: origin, path, problems)


def _load(
    text: str, place: Callable[[int], Origin], path: str, problems: Problems
) -> Located | None:
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            return Located(None, place(1), path)
        return _Reader(place, problems).read(node, 1, path)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        reason = ", ".join(part for part in (exc.context, exc.problem) if part)
        if mark and text[mark.index - 1 : mark.index + 1] == "${":
            reason += "; within { } a text with ${...} needs quotes"
        problems.add(place(mark.line + 1 if mark else 1), path, f"not valid YAML: {reason}")
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        message = f"not valid YAML: the character {text[exc.position]!r} is not allowed"
        problems.add(place(line), path, message)
    except _TooBigError as exc:
        problems.add(exc.origin, path, _TOO_BIG)
    except RecursionError:
        problems.add(place(1), path, _TOO_BIG)
    return None


class _TooBigError(Exception):
    def __init__(self, origin: Origin) -> None:
        self.origin = origin


class _Reader:
    """Turns PyYAML's nodes into ``Located`` values; ``place`` tells the origin of a line."""

    def __init__(self, place: Callable[[int], Origin], problems: Problems) -> None:
        self._place = place
        self._problems = problems
        self._n_nodes = 0

    def read(self, node: yaml.Node, line: int, path: str, depth: int = 0) -> Located:
        """The value of a node and of all below it; ``line`` is that of its key."""
        self._n_nodes += 1
        origin = self._place(line)
        if depth > DEEPEST or self._n_nodes > _MOST_NODES:
            raise _TooBigError(origin)
        if node.tag != _UNTAGGED:
            self._problems.add(origin, path, f"tags are not read, got {node.tag!r}; drop it")
        if isinstance(node, yaml.MappingNode):
            return Located(self._mapping(node, path, depth), origin, path)
        if isinstance(node, yaml.SequenceNode):
            items = [
                self.read(item, item.start_mark.line + 1, f"{path}[{i}]", depth + 1)
                for i, item in enumerate(node.value)
            ]
            return Located(items, origin, path)
        assert isinstance(node, yaml.ScalarNode)
        text = storable(node.value, origin, path, self._problems)
        # A quoted or block scalar is text whatever it looks like.
        return Located(text if node.style else parse_scalar(text), origin, path)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Located]:
        found: dict[str, Located] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            origin = self._place(line)
            key = key_node.value
            if fault := _key_fault(key_node):
                self._problems.add(origin, path, fault)
                continue
            key_path = f"{path}.{key}" if path else key
            if key in found:
                first = f", first on line {found[key].origin.line}" if origin.line else ""
                self._problems.add(origin, key_path, f"given twice{first}; keep one")
                continue
            found[key] = self.read(value_node, line, key_path, depth + 1)
        return found


def storable(given: str, origin: Origin, path: str, problems: Problems) -> str:
    """A text as file names, databases and terminals take it; what is left out is noted."""
    text = _UNSTORABLE.sub("", given)
    if text != given:
        rule = "a text may hold neither \\0 nor half of a surrogate pair; write it without"
        problems.add(origin, path, rule)
    return text


def _key_fault(node: yaml.Node) -> str:
    """Why a node cannot be a key, or nothing."""
    if not isinstance(node, yaml.ScalarNode):
        kind = "mapping" if isinstance(node, yaml.MappingNode) else "list"
        return f"a key must be a word, got a {kind}"
    if node.tag != _UNTAGGED:
        return f"tags are not read, got {node.tag!r}; drop it"
    if node.value == "<<":
        return "merge keys (<<) are not read; write the keys out"
    if not node.value or not node.value.isprintable():
        return f"a key must be a word, got {shown(node.value)}"
    return ""


def parse_scalar(text: str) -> Scalar:
    """A plain YAML 1.2 scalar: null, bool, int, float or, failing these, the text itself."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text) and len(text) < 19:  # Fits 64 bits; a longer one is a float.
        return int(text, _BASES.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        return float(text)
    return _SPECIAL.get(text.lower(), text)
