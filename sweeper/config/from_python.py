"""A study given from Python: the keys of a study file as a mapping -> :class:`StudySpec`."""

import os
import re
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from sweeper.config.in_memory import MODULE, InMemory, reference_of
from sweeper.config.problems import Origin, Problems, shown
from sweeper.config.ranges import option_word
from sweeper.config.reader import read_study
from sweeper.config.study import StudySpec
from sweeper.config.user_code import PLACES
from sweeper.config.yaml_source import DEEPEST, Located, parse_scalar, storable

#: Where all of its values come from, for messages.
ORIGIN = Origin("the study")
#: Stands for a name until it is told that there is none.
_NO_NAME = "study"
#: Of the value that has choices, to the path of one of them.
_OPTION = re.compile(r"\.choices(\[\d+\])?$")


def study_from_mapping(given: Mapping[str, Any]) -> tuple[StudySpec, dict[str, InMemory]]:
    """Read and validate what is given as a study file is read.

    Functions may stand where a study file refers to them, as a value, an option or the name of
    a branch; tuples, numbers of numpy and paths stand for what a file has in their place.

    Returns:
        The study, and the functions that no module has by their references.

    Raises:
        SpecError: With every problem, one a line.
    """
    problems = Problems()
    source = _Source(problems)
    top = source.read(given, "")
    assert top is not None
    name = given.get("name")
    if name is None:
        problems.add(ORIGIN, "name", "is required, as in name='mnist'")
    path = Path(name if isinstance(name, str) and name else _NO_NAME)
    return read_study(top, path, problems), source.functions


class _Source:
    """Turns what is given into what a study file is read as.

    Attributes:
        functions: Those met that no module has.
    """

    def __init__(self, problems: Problems) -> None:
        self.functions: dict[str, InMemory] = {}
        self._problems = problems

    def read(self, given: object, path: str, depth: int = 0) -> Located | None:
        """The value; None if it is none that a study file could have, which is noted."""
        if depth > DEEPEST:
            self._problems.add(ORIGIN, path, "is nested too deep")
            return None
        if isinstance(given, Mapping):
            return Located(self._mapping(given, path, depth), ORIGIN, path)
        if isinstance(given, list | tuple):
            items = [self.read(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(given)]
            return Located([item for item in items if item is not None], ORIGIN, path)
        return self._constant(given, path)

    def _mapping(self, given: Mapping[Any, Any], path: str, depth: int) -> dict[str, Located]:
        found: dict[str, Located] = {}
        for key, value in given.items():
            word = self._reference(key, path) if callable(key) else option_word(key)
            key_path = f"{path}.{word}" if path else word
            if not word or not word.isprintable():
                self._problems.add(ORIGIN, path, f"a key must be a word, got {shown(key)}")
            elif word in found:
                self._problems.add(ORIGIN, key_path, "given twice; keep one")
            elif (item := self.read(value, key_path, depth + 1)) is not None:
                found[word] = item
        return found

    def _constant(self, given: Any, path: str) -> Located | None:
        if callable(given):
            reference = self._reference(given, path)
            return Located(reference, ORIGIN, path) if reference else None
        if given is None or isinstance(given, bool | float):
            return Located(given, ORIGIN, path)
        if isinstance(given, Integral):
            return Located(parse_scalar(str(int(given))), ORIGIN, path)  # as a file has it
        if isinstance(given, Real):
            return Located(float(given), ORIGIN, path)
        if isinstance(given, str | os.PathLike):
            text = storable(os.fspath(given), ORIGIN, path, self._problems)
            return Located(text, ORIGIN, path)
        kind = type(given).__name__
        message = f"must be a number, a text, a list or a mapping, got {kind} {shown(given)}"
        self._problems.add(ORIGIN, path, message)
        return None

    def _reference(self, function: Callable[..., Any], path: str) -> str:
        """A name for the function, by which it is found; empty where none can stand."""
        if _OPTION.sub("", path) not in PLACES:
            message = f"no function can stand here, but for {', '.join(PLACES)}"
            self._problems.add(ORIGIN, path, f"{message}; got {shown(function)}")
            return ""
        try:
            reference = reference_of(function)
        except ValueError as exc:
            self._problems.add(ORIGIN, path, str(exc))
            return f"{MODULE}:function"
        if reference.partition(":")[0] == MODULE:
            other = self.functions.setdefault(reference, InMemory.of(function))
            if other.function is not function:
                message = f"two functions are called {reference.partition(':')[2]}; rename one"
                self._problems.add(ORIGIN, path, message)
        return reference
