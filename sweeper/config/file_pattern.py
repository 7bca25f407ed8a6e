"""``data.pattern``: the columns that the paths of files in a folder spell."""

import re
from dataclasses import dataclass

_COLUMN = re.compile(r"\{(\w+)\}")
#: The column that holds the path itself.
FILE = "file"
#: Where there is no pattern: the class of a file is the folder that it lies in.
LABEL = "label"
_RULE = "must be the path of a file below data.path with columns in braces, such as "
_EXAMPLE = "'{digit}_{speaker}_{take}.wav'"


def checked_pattern(text: str) -> str:
    """The text of a pattern; raises as :meth:`FilePattern.of`."""
    return FilePattern.of(text).text


@dataclass(frozen=True)
class FilePattern:
    """Says what parts of a path are, which has ``/`` between folders on every machine.

    Attributes:
        text: As the study file has it.
        columns: Names in braces, in their order; each stands for at least one character, and
            none of them is ``/``.
    """

    text: str
    columns: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "FilePattern":
        """Read it.

        Raises:
            ValueError: If it has no columns, two of the same name or without anything between
                them, or other braces.
        """
        columns = tuple(_COLUMN.findall(text))
        if not columns or set(_COLUMN.sub("", text)) & {"{", "}"}:
            raise ValueError(f"{_RULE}{_EXAMPLE}")
        if "}{" in text:
            raise ValueError(
                "must be a pattern with something between two columns: {digit}_{speaker}"
            )
        for name in columns:
            if name == FILE or columns.count(name) > 1:
                why = "is the path itself" if name == FILE else "stands there twice"
                raise ValueError(f"must be a pattern of different columns: {name!r} {why}")
        return cls(text, columns)

    def match(self, path: str) -> tuple[str, ...] | None:
        """The values of the columns; None if the path has another form.

        Raises:
            ValueError: If it can be read in two ways.
        """
        # The first column as short as it can be, then the next; and as long. All other ways lie
        # between the two.
        ways = [re.fullmatch(self._expression(part), path) for part in ("[^/]+?", "[^/]+")]
        found = [way.groups() for way in ways if way]
        if not found:
            return None
        if found[0] != found[1]:
            name, short, long = next(
                each for each in zip(self.columns, *found, strict=True) if each[1] != each[2]
            )
            raise ValueError(f"{name} may be {short!r} or {long!r}")
        return found[0]

    def _expression(self, part: str) -> str:
        literals = map(re.escape, _COLUMN.split(self.text)[::2])
        return f"({part})".join(literals)
