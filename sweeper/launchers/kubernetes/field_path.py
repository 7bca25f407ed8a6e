"""One place in a manifest, to read on from and to say where a mistake stands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.config.problems import shown


@dataclass(frozen=True)
class Node:
    """A value of a manifest and where it stands.

    What is absent or of another type than is asked for reads as empty: the schema finds that.

    Attributes:
        value: As YAML has it.
        path: ``Job/mnist: spec.template.spec``.
    """

    value: Any
    path: str

    def at(self, *keys: str) -> "Node":
        """What lies below a mapping's keys, one after another."""
        node = self
        for key in keys:
            inner = node.value.get(key) if isinstance(node.value, Mapping) else None
            node = Node(inner, f"{node.path}.{key}" if node.path[-2:] != ": " else node.path + key)
        return node

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """The entries of a mapping."""
        for key in self.value if isinstance(self.value, Mapping) else ():
            yield str(key), self.at(key)

    def each(self) -> Iterator["Node"]:
        """The members of a list."""
        for i, item in enumerate(self.value if isinstance(self.value, list) else ()):
            yield Node(item, f"{self.path}[{i}]")

    @property
    def is_given(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    @property
    def text(self) -> str:
        """The value if it is a string."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def number(self) -> int | None:
        """The value if it is a whole number."""
        is_whole = isinstance(self.value, int) and not isinstance(self.value, bool)
        return self.value if is_whole else None

    def mistake(self, rule: str) -> str:
        """The place, the rule, what came, and the way out if the rule has one behind a ``;``."""
        rule, semicolon, way_out = rule.partition(";")
        return f"{self.path}: {rule}, got {shown(self.value)}{semicolon}{way_out}"

    def below(self, least: int, rule: str = "") -> Iterator[str]:
        """A mistake if the value is a smaller number."""
        if self.number is not None and self.number < least:
            yield self.mistake(rule or f"must be at least {least}")

    def beside(self, *words: str, default: str = "") -> Iterator[str]:
        """A mistake if the value, or what it is by default, is none of the words."""
        if (self.value if self.is_given else default) not in words:
            yield self.mistake(f"must be {' or '.join(words)}")

    def repeated(self, key: str) -> Iterator[str]:
        """A mistake for each member of a list that has the key's value of an earlier one."""
        seen = set()
        for item in self.each():
            name = item.at(key)
            if name.text and name.text in seen:
                yield name.mistake("is there twice; rename or drop one")
            seen.add(name.text)


def when(fault: str, node: Node) -> Iterator[str]:
    """A mistake if there is a fault."""
    if fault:
        yield node.mistake(fault)
