"""What a program says of its epochs, in lines of output or in a file: text -> records."""

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from sweeper.config.command import EPOCH
from sweeper.errors import TrainingError

_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_BEHIND = ".,;:%)]"
_NOT_FINITE = re.compile(r"(?<![\w.])[-+]?(nan|inf|infinity)(?!\w)", re.IGNORECASE)
#: Epochs as programs count them, some from 0.
_EPOCHS = range(2**63 - 1)


@dataclass(frozen=True)
class Record:
    """A line or a row.

    Attributes:
        epoch: That it is about; None if it does not say.
        values: Metric -> value.
        others: Names of what is no number.
    """

    epoch: int | None
    values: Mapping[str, float]
    others: Sequence[str] = field(default=())


class JsonLines:
    """Each line that is a JSON object with a whole number ``epoch`` is a record."""

    def read(self, line: str) -> Record | None:
        """The record that the line holds, if it is one."""
        record = _json_record(line)
        return record if record and record.epoch is not None else None


class Words:
    """Values that regular expressions find; once all have found one, that is a record.

    Args:
        patterns: Name -> expression with one group, ``epoch`` among the names or not.
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self._patterns = {name: re.compile(pattern) for name, pattern in patterns.items()}
        self._found: dict[str, float] = {}
        self._met: set[str] = set()

    @property
    def unmet(self) -> list[str]:
        """Names whose expression has found nothing yet."""
        return [name for name in self._patterns if name not in self._met]

    def read(self, line: str) -> Record | None:
        """The record that the line completes, if it does; of a value that comes again, the later.

        Raises:
            TrainingError: If what was found is no number.
        """
        for name, pattern in self._patterns.items():
            text = _find(pattern, line)
            if text is not None:
                self._found[name] = self._number(name, text, line)
        self._met |= self._found.keys()
        if len(self._found) < len(self._patterns):
            return None
        values, self._found = self._found, {}
        return Record(_as_epoch(values.pop(EPOCH, None)), values)

    def _number(self, name: str, text: str, line: str) -> float:
        number = _number(text)
        if number is None or (name == EPOCH and _as_epoch(number) is None):
            wanted = "whole number" if name == EPOCH else "number"
            raise TrainingError(
                f"train.report.{name}: {self._patterns[name].pattern!r} finds {text!r}, which is "
                f"no {wanted}, in the line {line[:200]!r}; let its group hold the number alone"
            )
        return number


def _find(pattern: re.Pattern[str], line: str) -> str | None:
    """What the group holds; the whole number if it holds a part of one, or a sign behind it.

    Who writes ``loss=([0-9.]+)`` means ``loss=1.2e+10`` and ``loss=nan``, too.
    """
    found = pattern.search(line)
    if found and found[1] is not None:
        number = _NUMBER.match(line, found.start(1))
        if number and not found[1][len(number[0]) :].strip(_BEHIND):
            return number[0]
        return found[1]
    for word in _NOT_FINITE.finditer(line):
        for finite in ("0", "0.0000"):
            found = pattern.search(f"{line[: word.start()]}{finite}{line[word.end() :]}")
            if found and found.start(1) == word.start():
                return word[0]
    return None


class MetricsFile:
    """Rows of a file that a program writes, as they come.

    It is read anew whenever it has changed: a program may write it as a whole each time.

    Args:
        path: Of the file, which need not exist yet; .csv, or lines that are JSON objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int] | None = None
        self._n_read = 0

    def read(self, *, is_whole: bool) -> Iterator[Record]:
        """Rows that have come since the last call.

        Args:
            is_whole: Whether nobody writes any more, so that a last line without an end counts.
        """
        if not self.path.is_file():
            return
        status = self.path.stat()
        stamp = (status.st_size, status.st_mtime_ns)
        if stamp == self._stamp and not is_whole:
            return
        self._stamp = stamp
        text = self.path.read_text(encoding="utf-8-sig", errors="replace")
        if not is_whole:
            text = text[: text.rfind("\n") + 1]
        if self.path.suffix == ".csv":
            rows = list(_csv_records(text))
        else:
            rows = list(filter(None, map(_json_record, text.split("\n"))))
        if len(rows) < self._n_read:  # it was begun anew
            self._n_read = 0
        new, self._n_read = rows[self._n_read :], len(rows)
        yield from new


def _json_record(line: str) -> Record | None:
    """The record in a line that is a JSON object."""
    line = line.strip()
    if not (line.startswith("{") and line.endswith("}")):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return _record(found)


def _csv_records(text: str) -> Iterator[Record]:
    """The rows below a header; a cell that is empty is absent."""
    try:
        for row in csv.DictReader(StringIO(text, newline="")):
            named = {name: cell for name, cell in row.items() if name and isinstance(cell, str)}
            cells = {name.strip(): cell.strip() for name, cell in named.items() if cell.strip()}
            if cells:
                yield _record({name: _cell(cell) for name, cell in cells.items()})
    except csv.Error as exc:
        raise TrainingError(f"train.metrics: the file cannot be read as CSV: {exc}") from exc


def _cell(text: str) -> float | str:
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _record(found: Mapping[str, Any]) -> Record:
    values, others = {}, []
    for name, value in found.items():
        if name == EPOCH:
            continue
        if isinstance(value, int | float):
            values[name] = _as_float(value)
        else:
            others.append(name)
    return Record(_as_epoch(found.get(EPOCH)), values, tuple(others))


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf if value > 0 else -math.inf


def _as_epoch(value: object) -> int | None:
    """A number of epochs, such as 3 or 3.0; None if it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value in _EPOCHS else None
