"""A study file and the base files that it builds on, as one tree of values."""

import os
import stat
from pathlib import Path

from sweeper.config.layers import lay_over, without
from sweeper.config.problems import Problems, shown
from sweeper.config.yaml_source import Located, load_source
from sweeper.errors import SpecError

#: Seconds for the YAML parser already; no study file comes near this.
_MOST_BYTES = 1_000_000
#: Files that build on each other.
_DEEPEST = 20


def load_study_file(path: Path, problems: Problems) -> Located | None:
    """The values of a study file, laid over those of the files that its ``defaults`` name.

    Args:
        path: Of the file.
        problems: Where what is wrong is noted.

    Returns:
        The mapping at its top, without ``defaults``; None if it is no readable YAML.

    Raises:
        SpecError: If the file cannot be read.
    """
    absent = f"no such file; `sweeper init {path}` writes one"
    return _Files(problems).load(path, read_text(path, absent=absent))


def read_text(path: Path, *, absent: str = "no such file") -> str:
    """The text of a study file.

    Args:
        path: Of the file.
        absent: What to say if there is none.

    Raises:
        SpecError: If it cannot be read, or is too big for one.
    """
    content = _read(path, absent)
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise SpecError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from exc


def _read(path: Path, absent: str) -> bytes:
    if not str(path).isprintable():  # else no message, and no terminal, could name it
        raise SpecError(f"{str(path)!r}: the name of a study file must be printable; rename it")
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no file on a disk"
            raise SpecError(f"{path}: is {kind}; a study is a file of YAML text")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as exc:
        raise SpecError(f"{path}: {absent}") from exc
    except OSError as exc:
        raise SpecError(f"{path}: cannot read the study file: {exc.strerror}") from exc
    if len(content) > _MOST_BYTES:
        raise SpecError(f"{path}: is bigger than {_MOST_BYTES:,} bytes, so it is no study file")
    return content


class _Files:
    """Reads a file and those below it, each once, however many build on it."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._bases: dict[str, Located | None] = {}
        self._open: list[str] = []

    def load(self, path: Path, text: str) -> Located | None:
        top = load_source(text, str(path), self._problems)
        if top is None or "defaults" not in top.value:
            return top
        self._open.append(os.path.realpath(path))
        merged = Located({}, top.origin, "")
        for name in self._names(top.value["defaults"]):
            if base := self._base(path.parent / name.value, name):
                merged = lay_over(merged, base)
        self._open.pop()
        return lay_over(merged, without(top, ["defaults"]))

    def _names(self, item: Located) -> list[Located]:
        names = item.value if isinstance(item.value, list) else [item]
        if names == [item] or not all(isinstance(name.value, str) for name in names):
            rule = "must be a list of files such as [base.yaml]"
            self._problems.blame(item, f"{rule}, got {shown(item.plain())}")
            return []
        return names

    def _base(self, path: Path, name: Located) -> Located | None:
        """The values of a base file but its name, which is that of a study of its own."""
        place = os.path.realpath(path)
        if place in self._open or len(self._open) > _DEEPEST:
            fault = f"{path} builds on this file" if place in self._open else "nested too deep"
            self._problems.blame(name, f"{fault}; take it out")
        elif place not in self._bases:
            self._bases[place] = None
            if (text := self._text(path, name)) is not None:
                top = self.load(path, text)
                self._bases[place] = top and without(top, ["name"])
        return self._bases.get(place)

    def _text(self, path: Path, name: Located) -> str | None:
        try:
            return read_text(path)
        except SpecError as exc:
            self._problems.blame(name, str(exc))
            return None
