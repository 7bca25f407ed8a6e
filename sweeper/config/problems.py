"""What is wrong with a study, and where: collected so that it can be said all at once."""

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from sweeper.errors import SpecError
from sweeper.text import redacted

#: Nobody reads on behind so many, and to look for more takes time.
_MOST = 200


class Origin(NamedTuple):
    """Where a value was given.

    Attributes:
        source: A file, by its path as the user gave it; or what else values come from.
        line: In the file, from 1; 0 where there are no lines.
    """

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


#: Dotted path of a value, and what is wrong with it.
Fault = tuple[str, str]


class _Located(Protocol):
    """A :class:`~sweeper.config.yaml_source.Located`, as far as its place goes."""

    @property
    def origin(self) -> Origin: ...

    @property
    def path(self) -> str: ...


@dataclass
class Problems:
    """The problems of one study."""

    _found: list[tuple[Origin, str, str]] = field(default_factory=list)

    def add(self, origin: Origin, path: str, message: str) -> None:
        """Note a problem of the value at the dotted ``path``, which comes from ``origin``.

        Raises:
            SpecError: If there are so many already that it makes no sense to read on.
        """
        if len(self._found) == _MOST:
            message = f"{origin}: more than {_MOST} problems; mend those above first"
            self._found.append((origin, "", message))
            self.raise_if_any()
        where = f"{path}: " if path else ""
        # A URL may stand where it does not belong, even as a key.
        self._found.append((origin, path, f"{origin}: {redacted(where + message)}"))

    def blame(self, item: _Located, message: str) -> None:
        """Note a problem of a value; raises as :meth:`add`."""
        self.add(item.origin, item.path, message)

    def add_all(self, faults: Iterable[Fault], origin: Callable[[str], Origin]) -> None:
        """Note faults, each before the next is looked for; raises as :meth:`add`.

        Args:
            faults: Found one by one.
            origin: Tells of a dotted path where its value comes from.
        """
        for path, message in faults:
            self.add(origin(path), path, message)

    def concern(self, path: str) -> bool:
        """Whether one was noted at the dotted ``path``, above it or below it."""
        return any(
            f"{path}.".startswith(f"{noted}.") or f"{noted}.".startswith(f"{path}.")
            for _, noted, _ in self._found
        )

    def __bool__(self) -> bool:
        return bool(self._found)

    def raise_if_any(self) -> None:
        """Raise all problems as one error, those of each file in its order.

        Raises:
            SpecError: If any problem was noted.
        """
        if self._found:
            in_order = sorted(self._found[:_MOST], key=lambda problem: problem[0])
            in_order += self._found[_MOST:]
            raise SpecError("\n".join(dict.fromkeys(message for _, _, message in in_order)))


#: Between the parts of a name.
_PARTS = re.compile(r"[_.:/-]")
#: More say no more than all the words there are.
_MOST_NEAR = 3


def shown(value: object) -> str:
    """A value as the file could spell it, cut where it gets long."""
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else redacted(repr(value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def did_you_mean(word: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """``; did you mean 'epochs'?`` for the nearest known words.

    That are those of which the word is a part, as ``loss`` is of ``val_loss`` and ``train_loss``,
    or the initials, as ``lr`` is of ``learning_rate``; else those that begin with it; else the one
    that is spelt most alike.
    Where none is near: ``otherwise``, by default the words there are.
    """
    words = sorted(map(str, known))
    near = [other for other in words if word.lower() in _short_for(other.lower())]
    near = near or [other for other in words if other.startswith(word)]
    near = near or difflib.get_close_matches(word, words, n=1)
    if 0 < len(near) <= _MOST_NEAR:
        return f"; did you mean {' or '.join(repr(other) for other in near)}?"
    if otherwise is not None:
        return otherwise
    return f"; known: {', '.join(words)}" if words else ""


def _short_for(name: str) -> list[str]:
    """What people write for a name: a part of it, or its initials."""
    parts = _PARTS.split(name)
    return [*parts, "".join(part[:1] for part in parts)]
