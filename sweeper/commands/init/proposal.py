"""What a first study file says of some data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sweeper.trial import Task

Kind = Literal["table", "text", "audio", "images"]


class Key(NamedTuple):
    """A key of ``data``, with a comment for those who have just got the file."""

    name: str
    value: Any
    why: str = ""


@dataclass(frozen=True)
class Proposal:
    """The ``data`` section of a study file, and what the rest depends on.

    Attributes:
        about: What was found, on one line.
        kind: Of the data.
        keys: Of the section, but for ``name``.
        task: Of the target.
        has_numbers: Of a table, whether a model is given some.
    """

    about: str
    kind: Kind
    keys: Sequence[Key]
    task: Task = "classification"
    has_numbers: bool = True


def listed(title: str, names: Sequence[str]) -> str:
    """``title: a, b, c``; nothing if there are no names."""
    more = ", ..." * (len(names) > _MOST_NAMED)
    return f"{title}: {', '.join(names[:_MOST_NAMED])}{more}" if names else ""


#: Names in a comment.
_MOST_NAMED = 6
