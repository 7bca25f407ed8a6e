"""What is wrong with a study file, collected so that it can be said all at once."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from sweeper.errors import SpecError


@dataclass
class Problems:
    """The problems of one study file.

    Attributes:
        file: Its path as the user gave it, for the messages.
    """

    file: str
    _found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, path: str, message: str) -> None:
        """Note a problem of the value at the dotted ``path`` on ``line`` (from 1)."""
        where = f"{path}: " if path else ""
        self._found.append((line, f"{self.file}:{line}: {where}{message}"))

    def __bool__(self) -> bool:
        return bool(self._found)

    def raise_if_any(self) -> None:
        """Raise all problems as one error, in file order.

        Raises:
            SpecError: If any problem was noted.
        """
        if self._found:
            lines = dict.fromkeys(
                message for _, message in sorted(self._found, key=lambda p: p[0])
            )
            raise SpecError("\n".join(lines))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'epochs'?`` for the nearest known word, or the words there are."""
    words = sorted(map(str, known))
    near = difflib.get_close_matches(word, words, n=1)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known: {', '.join(words)}" if words else ""
