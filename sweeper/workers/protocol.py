"""What an agent and a worker say to each other; it needs no torch, as an agent has none.

A worker starts with a channel to its agent as standard input, and takes it away from there before
any code of the user's runs. In comes one message that says what to do, then silence, whose end
means that the agent is gone. Out go notes for the user, then why it ends.
"""

import json
import os
import re
import select
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from sweeper.config.problems import Origin
from sweeper.config.user_code import code_digest
from sweeper.workers.devices import Placement

if TYPE_CHECKING:
    from sweeper.study.study import SweepStudy

#: So long a worker may take to finish its batch and put its trial back; a scheduler that sent
#: SIGTERM kills what is left after 30 s (the defaults of Slurm and Kubernetes).
DRAIN_S = 20.0
_STDIN = 0
#: Of the length of the first message; functions may hold whatever a notebook has.
_LENGTH_DIGITS = 12
#: Read at once.
_MOST_BYTES = 1 << 20
#: Follows the reason why a worker ends.
_END = "\x04"
#: Follows what the user should know while the worker goes on.
_NOTE = "\x06"
#: Follows the number of a trial and the epochs that it has done ...
_EPOCHS = "\x07"
#: ... or this word, once the trial has left the worker.
_OVER = "over"


@dataclass(frozen=True)
class AgentArgs:
    """What an agent tells all of its workers.

    Attributes:
        root: The ``mlruns`` folder.
        study: Name of the study, whose resolved file is read.
        study_file: As the user named it, for messages.
        origins: Dotted path -> where the user gave that value; the resolved file has other lines.
        overrides: What the command line laid over that file.
        storage: As in the study file; the resolved file does not hold its password.
        agent: Name of the agent, which holds the lease.
        import_dirs: Folders in which the user's code is found.
        functions: Those that no module has, for :func:`~sweeper.config.in_memory.take_over`.
        data_label: Name of the data in the records, as it may be a fallback.
        failed_before: Numbers of trials that had failed when the command began; they do not count.
        tracking_uri: Of the MLflow store, where the trials' own code logs to it; else empty.
        code: Version of the study's own code when the command began; empty if it has none.
        tags: Of every trial: versions, git commit.
    """

    root: str
    study: str
    study_file: str
    origins: Mapping[str, Origin]
    overrides: list[str]
    storage: str
    agent: str
    import_dirs: list[str]
    functions: str
    data_label: str
    failed_before: list[int]
    tracking_uri: str
    code: str
    tags: dict[str, str]

    @classmethod
    def of(
        cls,
        study: "SweepStudy",
        agent: str,
        *,
        import_dirs: Sequence[str],
        functions: str = "",
        data_label: str = "",
        failed_before: Sequence[int] = (),
        tracking_uri: str = "",
        tags: Mapping[str, str],
    ) -> Self:
        """With what the study says of itself; the others as above."""
        spec = study.spec
        return cls(
            root=str(study.paths.root),
            study=spec.name,
            study_file=str(spec.path),
            origins=spec.origins,
            overrides=list(spec.overrides),
            storage=spec.storage,
            agent=agent,
            import_dirs=list(import_dirs),
            functions=functions,
            data_label=data_label,
            failed_before=list(failed_before),
            tracking_uri=tracking_uri,
            code=code_digest(spec),
            tags=dict(tags),
        )


@dataclass(frozen=True)
class WorkerArgs(AgentArgs):
    """What an agent tells one worker: one JSON object on their channel.

    Not on its command line, which every user of the machine can read.

    Attributes:
        name: The worker's own, unique among all that ever lived.
        given_s: When, in seconds since the Unix epoch.
        place: Where it computes, and how it trains.
    """

    name: str
    given_s: float
    place: Placement

    @classmethod
    def new(cls, args: AgentArgs, place: Placement, *, name: str) -> Self:
        """Of a worker of that name, as of now."""
        return cls(**vars(args), name=name, given_s=time.time(), place=place)

    def encode(self) -> bytes:
        """As JSON, behind a fixed number of digits that say how long that is."""
        text = json.dumps(asdict(self)).encode()
        return f"{len(text):0{_LENGTH_DIGITS}}".encode() + text

    @classmethod
    def read(cls, fd: int) -> Self:
        """Read them, and nothing behind them.

        Raises:
            EOFError: If there are none, as nobody but an agent starts a worker.
        """
        given = json.loads(_read(fd, int(_read(fd, _LENGTH_DIGITS))))
        origins = {path: Origin(*origin) for path, origin in given.pop("origins").items()}
        place = Placement.from_json(given.pop("place"))
        return cls(**given, origins=origins, place=place)


def _read(fd: int, n_bytes: int) -> bytes:
    parts = []
    while n_bytes:
        part = os.read(fd, min(n_bytes, _MOST_BYTES))
        if not part:
            raise EOFError("a worker is started by its agent: sweeper run STUDY")
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)


def take_standard_input() -> int:
    """What was standard input, as a descriptor that processes of the user's code do not inherit.

    Who reads standard input is at its end at once.
    """
    taken = os.dup(_STDIN)  # which Python closes on exec
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _STDIN)
    os.close(nothing)
    return taken


class Channel:
    """A worker's end of the channel, which it found as standard input."""

    def __init__(self) -> None:
        self._fd = take_standard_input()

    def read_args(self) -> WorkerArgs:
        """What to do; raises as :meth:`WorkerArgs.read`."""
        return WorkerArgs.read(self._fd)

    def await_end(self) -> None:
        """Return when the agent is gone."""
        with suppress(ConnectionResetError):  # it died before it had read what was sent to it
            os.read(self._fd, 1)  # unlike a file object, holds no lock that blocks the exit

    def send_note(self, text: str) -> None:
        """Let the agent tell the user."""
        self._send(text + _NOTE)

    def send_epochs(self, number: int, epochs: float) -> None:
        """Say how far a trial is, unless the agent is too busy to listen; nothing is lost then.

        Args:
            number: Of the trial.
            epochs: Done, with the part of the next one.
        """
        _, is_writable, _ = select.select([], [self._fd], [], 0)
        if is_writable:
            self._send(f"{number} {epochs:.3f}{_EPOCHS}")

    def send_over(self, number: int) -> None:
        """Say that a trial has left this worker."""
        self._send(f"{number} {_OVER}{_EPOCHS}")

    def send_end(self, trouble: str) -> None:
        """Say that this worker ends.

        Args:
            trouble: Of disk or storage, which is not its trial's fault; empty if no work was left.
        """
        self._send(trouble + _END)

    def _send(self, text: str) -> None:
        with suppress(OSError):  # the agent may be gone
            os.write(self._fd, text.encode())


class Messages:
    """What a worker has sent, on the agent's side.

    Attributes:
        epochs: Number of each trial that it has -> epochs done, with the part of the next one.
    """

    def __init__(self) -> None:
        self.epochs: dict[int, float] = {}
        self._unread = b""
        self._notes: list[str] = []

    def add(self, received: bytes) -> None:
        """Take in what came, which may end in the middle of a message."""
        whole = re.split(f"({_NOTE}|{_EPOCHS})".encode(), self._unread + received)
        self._unread = whole.pop()
        for text, kind in zip(whole[::2], whole[1::2], strict=True):
            if kind.decode() == _NOTE:
                self._notes.append(text.decode())
            else:
                self._note_epochs(*text.decode().split())

    def _note_epochs(self, number: str, epochs: str) -> None:
        if epochs == _OVER:
            self.epochs.pop(int(number), None)
        else:
            self.epochs[int(number)] = float(epochs)

    def take_notes(self) -> list[str]:
        """Whole notes that came since the last call."""
        notes, self._notes = self._notes, []
        return notes

    @property
    def end(self) -> str | None:
        """What :meth:`Channel.send_end` was called with; None if it was not."""
        last = self._unread.decode()
        return last.removesuffix(_END) if last.endswith(_END) else None
