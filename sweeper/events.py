"""The event log of a trial: one JSON object a line, appended before anything is sent.

A line is whole once its newline is on disk. A process that died while writing leaves a torn last
line; readers stop before it and the next writer cuts it off.
"""

import errno
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Self, get_args

from sweeper.config.names import FilePath, Line, Package, Sha256, TagName
from sweeper.config.records import read_record
from sweeper.config.settings import ModelConfig, Scalar
from sweeper.durable import Step, durable
from sweeper.errors import EventLogError
from sweeper.trial import DataInfo, EpochMetrics, Outcome, check_time


@dataclass(frozen=True)
class Started:
    """A process began, or went on with, a trial.

    Attributes:
        time_s: Seconds since the Unix epoch.
        resumed: How often the trial went on after losing its process, 0 at first.
        params: As in :class:`~sweeper.config.settings.TrialConfig`, with the defaults laid in.
        tags: What a person may want to filter by, without the ``sweeper.`` prefix.
        data: None when the user's training function brings its own.
        model: As ``data``; ``params`` with the builder's defaults laid in.
    """

    time_s: float
    resumed: int
    params: Mapping[str, Scalar]
    tags: Mapping[str, str]
    data: DataInfo | None
    model: ModelConfig | None

    def __post_init__(self) -> None:
        check_time(self.time_s)
        if self.resumed < 0:
            raise ValueError(f"resumed must be >= 0, got {self.resumed}")


@dataclass(frozen=True)
class FileLogged:
    """The trial's own code logged a file, which lies in the trial's folder.

    Attributes:
        time_s: Seconds since the Unix epoch.
        path: In the trial's run, and below :meth:`~sweeper.paths.RunPaths.logged_files`.
        sha256: Of what it held. A later event may give it another content.
    """

    time_s: float
    path: FilePath
    sha256: Sha256

    def __post_init__(self) -> None:
        check_time(self.time_s)


@dataclass(frozen=True)
class TagsSet:
    """The trial's own code set tags of its run.

    Attributes:
        time_s: Seconds since the Unix epoch.
        tags: By name; others stay as they are.
    """

    time_s: float
    tags: Mapping[TagName, str]

    def __post_init__(self) -> None:
        check_time(self.time_s)


@dataclass(frozen=True)
class TensorForm:
    """What a tensor is that a model takes or answers, a row for each sample.

    Attributes:
        name: By which it is given or answered; empty if it is alone and has none.
        dtype: As NumPy names it.
        shape: Without the first side, the number of samples.
    """

    name: str
    dtype: Line
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelLogged:
    """The trial's own code logged its model, which lies in the trial's folder.

    Attributes:
        time_s: Seconds since the Unix epoch.
        form: ``pt2`` as :meth:`~sweeper.paths.RunPaths.exported_model`, or ``state_dict`` as
            :meth:`~sweeper.paths.RunPaths.model`, of one that cannot be exported.
        module: Its class, with the module.
        inputs: What a program takes.
        outputs: What it answers.
        packages: What it needs to run, with versions as pip writes them.
    """

    time_s: float
    form: Literal["pt2", "state_dict"]
    module: Line
    inputs: tuple[TensorForm, ...] = ()
    outputs: tuple[TensorForm, ...] = ()
    packages: tuple[Package, ...] = ()

    def __post_init__(self) -> None:
        check_time(self.time_s)


@dataclass(frozen=True)
class Interrupted:
    """The trial gave up its process and waits for another.

    Attributes:
        time_s: Seconds since the Unix epoch.
        cause: One line for people.
        seconds: As in :class:`~sweeper.trial.Outcome`, so far; empty if the process was killed.
        tags: As in :class:`Started`, of what is only known now.
    """

    time_s: float
    cause: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_time(self.time_s)


@dataclass(frozen=True)
class Ended:
    """The trial ended for good.

    Attributes:
        time_s: Seconds since the Unix epoch.
        outcome: How.
        tags: As in :class:`Started`, of what is only known now.
    """

    time_s: float
    outcome: Outcome
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_time(self.time_s)


#: What a trial's own code logs beside epochs.
Logged = FileLogged | TagsSet | ModelLogged
Event = Started | EpochMetrics | Logged | Interrupted | Ended


def encode_event(event: Event) -> bytes:
    """One line of the log, newline included."""
    record = {"event": type(event).__name__, **asdict(event)}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


_KINDS: Mapping[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}


def decode_event(line: bytes) -> Event:
    """The inverse of :func:`encode_event`.

    Raises:
        ValueError: If the line is no event, or one that cannot be.
    """
    record = json.loads(line)
    kind = _KINDS.get(str(record.pop("event", ""))) if isinstance(record, dict) else None
    if kind is None:
        raise ValueError("is no event")
    data = record.get("data")
    if isinstance(data, dict) and "n_classes" in data:  # as it was called when all were classified
        data["n_outputs"] = data.pop("n_classes")
    return read_record(kind, record)


def read_events(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """Events from byte ``offset`` on, and the offset after the last whole line.

    A file that does not exist yet has no events.

    Raises:
        EventLogError: If a whole line is no event.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            chunk = file.read()
    except FileNotFoundError:
        return [], offset
    whole = chunk[: chunk.rfind(b"\n") + 1]
    try:
        events = [decode_event(line) for line in whole.splitlines()]
    except (ValueError, RecursionError) as exc:
        raise EventLogError(
            f"{path}: an event cannot be read ({exc}); move the trial's folder away to go on "
            "without what stands there"
        ) from exc
    return events, offset + len(whole)


def booked_seconds(events: Iterable[Event]) -> Mapping[str, float]:
    """Seconds of a trial by entry of the ledger, over all its processes so far that told them."""
    told = [event.seconds for event in events if isinstance(event, Interrupted) and event.seconds]
    return told[-1] if told else {}


class EventWriter:
    """Appends to one trial's log. One process at a time holds a trial, so there is one writer.

    Attributes:
        before: What stood in the log when it was opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.before, whole = read_events(path)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._fd, whole)

    def append(self, event: Event) -> None:
        """Write one event and hand it to the operating system.

        Raises:
            OSError: If there is no room for it; the log is as it was before.
        """
        line = encode_event(event)
        with durable(Step.EVENT):
            n_written = os.write(self._fd, line)
            if n_written != len(line):
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - n_written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            if isinstance(event, Ended | Interrupted):
                os.fsync(self._fd)  # what the storage says next must not outlive it

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
