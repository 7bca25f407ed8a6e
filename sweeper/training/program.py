"""A program of the user's own: started, listened to, asked to end; see :mod:`.supervisor`."""

import errno
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from sweeper.errors import StoreError, TrainingError, TrialInterrupted, TrialLost
from sweeper.training import supervisor
from sweeper.training.program_output import PrintedLines

#: From SIGTERM to SIGKILL. A worker that must stop has twice that (``DRAIN_S``), and must then
#: put its trial back and bring its checkpoint to the object store.
GRACE_S = 10.0
#: So often whoever listens looks around.
_POLL_S = 0.05
#: Signals and errors after which another process goes on with the trial.
_GOES_ON = (StoreError, TrialInterrupted, TrialLost)
#: What a shell adds to the number of a signal.
_BY_SIGNAL = 128
#: Lines of output that are remembered for the cause of a failure.
_TAIL_LINES = 19
_TAIL_WIDTH = 400


@dataclass(frozen=True)
class End:
    """How a program ended.

    Attributes:
        code: Its exit code, as a shell tells it: 128 and the signal's number if one ended it.
        last_words: The last line of its errors, else of its output unless a signal ended it.
        tail: The last lines of both.
    """

    code: int
    last_words: str
    tail: str

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended it, or what it had started; None if none did."""
        number = self.code - _BY_SIGNAL
        return number if number in set(signal.Signals) else None

    def __str__(self) -> str:
        if self.signal is None:
            said = f"ended with exit code {self.code}"
        else:
            said = f"was ended by {signal.Signals(self.signal).name}"
        return f"{said}: {self.last_words}" if self.last_words else said


class Program:
    """Runs from entering the block on; after the block no process of it is left.

    What it prints is passed on to standard output and standard error as it comes.

    Args:
        words: The program and its arguments.
        environment: All of it.
        folder: For what it prints, see :mod:`.program_output`; gone after the block, unless the
            trial goes on elsewhere and not all of it may have been reported.
        note: Told of output that is not read.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        note: Callable[[str], None],
    ) -> None:
        self._words = words
        self._environment = environment
        self._folder = folder
        self._note = note
        self._unread = b""
        self._said: dict[str, int] = {}
        self._is_over = False
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        output, errors = self._folder / "stdout", self._folder / "stderr"
        for path in (output, errors):
            path.write_bytes(b"")
        self._control, theirs = socket.socketpair()
        with theirs, output.open("ab") as output_file, errors.open("ab") as errors_file:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__, str(GRACE_S), *self._words],
                stdin=theirs.fileno(),
                stdout=output_file,
                stderr=errors_file,
                env=self._environment,
                start_new_session=True,
            )
        self._output = PrintedLines(output, sys.stdout, self._note)
        self._errors = PrintedLines(errors, sys.stderr, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None and issubclass(kind, TrialLost):
                self._control.shutdown(socket.SHUT_WR)  # another process may write its files now
            else:
                self.ask_to_end()
            for _lines in self.output():
                pass
        finally:
            self._control.close()
            self._supervisor.wait()
            self._output.close()
            self._errors.close()
        if kind is None or not issubclass(kind, _GOES_ON):
            shutil.rmtree(self._folder, ignore_errors=True)

    def ask_to_end(self) -> None:
        """Let its process group be sent SIGTERM, and what is left after a while be killed."""
        with suppress(OSError):  # it has ended
            self._control.send(b"t")

    def output(self) -> Iterator[list[str]]:
        """The lines that have ended, or none now and then, until no process is left."""
        while not self._is_over:
            lines = [*self._output.read(), *self._errors.read()]
            yield self._remembered(lines)
            heard, _, _ = select.select([self._control], [], [], 0.0 if lines else _POLL_S)
            if heard:
                self._listen()
        yield self._remembered([*self._output.read_rest(), *self._errors.read_rest()])

    def _remembered(self, lines: list[str]) -> list[str]:
        self._tail.extend(line[:_TAIL_WIDTH] for line in lines if line.strip())
        return lines

    def _listen(self) -> None:
        """Note what the supervisor says; its silence means that it has ended.

        If it was killed, it has said nothing of the program's end. The kernel kills that then, and
        its process group is left to us.
        """
        try:
            received = self._control.recv(256)
        except OSError:
            received = b""
        *lines, self._unread = (self._unread + received).split(b"\n")
        for word, number in (line.decode().split() for line in lines):
            self._said[word] = int(number)
        self._is_over = not received
        if self._is_over and self._said.keys() == {"started"}:
            self._said["signal"] = signal.SIGKILL
            with suppress(ProcessLookupError):
                os.killpg(self._said["started"], signal.SIGKILL)

    def end(self) -> End:
        """How it ended, once :meth:`output` is at its end.

        Raises:
            TrainingError: If it could not be started.
        """
        if "refused" in self._said:
            refusal = _refusal(self._words[0], self._said["refused"])
            raise TrainingError(f"train.command: {refusal}")
        code = self._said.get("exit", _BY_SIGNAL + self._said.get("signal", signal.SIGKILL))
        end = End(code, self._errors.last, "\n".join(self._tail))
        is_said = end.last_words or end.signal is not None  # which comes in the middle of nothing
        return end if is_said else replace(end, last_words=self._output.last)


def _refusal(word: str, number: int) -> str:
    """Why a program could not be started, and what can be done."""
    is_there = Path(word).exists()
    if number == errno.ENOENT and "/" not in word:
        way_out = f"`./{word}` is the one here" if is_there else "is its environment active?"
        if "=" in word:
            way_out = f"`env {word} ...` sets a variable"
        return f"there is no program {word!r} in $PATH; {way_out}"
    if number == errno.ENOENT and not is_there:
        return f"there is no file {word}, from {Path.cwd()}"
    if number == errno.ENOENT:
        return f"{word} names an interpreter in its first line that is not there"
    if number in (errno.EACCES, errno.ENOEXEC):
        return (
            f"{word} cannot be executed ({os.strerror(number)}); name its interpreter before it, "
            "as in `python train.py`, or give it a first line #!... and chmod +x"
        )
    return f"{word} cannot be started: {os.strerror(number)}"
