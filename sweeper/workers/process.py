"""A worker as its agent sees it: a process, a channel to it, the log of what it prints."""

import math
import os
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from sweeper.study.recovery import Death
from sweeper.text import redacted
from sweeper.trial import FailureKind
from sweeper.workers.cgroup import count_memory_kills, memory_limit
from sweeper.workers.forkserver import ForkServer, forget_empty_log
from sweeper.workers.protocol import Messages, WorkerArgs

#: Of a dead worker's log, shown to the user.
_LOG_LINES = 12
#: Far more than they take, so that what spans some lines, such as a key, is told as a secret.
_LOG_BYTES = 64 * 1024
#: So long a process may take to write down where it hangs.
_STACK_S = 2.0
#: So long the kernel may take to clear away a big process that it has killed.
_TEARDOWN_S = 5.0
#: How the log begins to tell where a process hangs (faulthandler).
_STACK = "(most recent call first):"
#: How it begins to tell where one crashed.
_CRASH = "Fatal Python error: "


class WorkerProcess:
    """One worker of this agent.

    Attributes:
        name: Its own, unique among all that ever lived.
        place: Where it computes.
        log_path: What it and the user's code print.
    """

    def __init__(self, args: WorkerArgs, log_path: Path, server: ForkServer) -> None:
        self.name = args.name
        self.place = args.place
        self.log_path = log_path
        self._memory_kills = count_memory_kills()
        self._last_kill_s = -math.inf
        self._messages = Messages()
        self._channel, theirs = socket.socketpair()
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with theirs, log_path.open("ab") as log_file:
            self._process = server.start(
                stdin=theirs.fileno(), output=log_file.fileno(), n_threads=self.place.n_threads
            )
        with suppress(OSError):  # it died already, which is noticed like any other death
            self._channel.sendall(args.encode())

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs. Ask it often, to know what the kernel killed before."""
        self._look_for_kills()
        return not self.has_ended

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, without a look at what the kernel killed."""
        return self._process.poll() is not None

    def _look_for_kills(self) -> None:
        n_kills = count_memory_kills()
        if n_kills > self._memory_kills:
            self._memory_kills, self._last_kill_s = n_kills, time.monotonic()

    def drain(self) -> None:
        """Ask it to put its trial back after the current batch, and end."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, with the processes that user code started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with suppress(ChildProcessError):  # what its trial started is ours now, if it was forked
            while True:
                os.waitpid(-self._process.pid, 0)

    def show_stack(self) -> str:
        """Where its main thread is now, innermost call first."""
        size = self.log_path.stat().st_size
        self._process.send_signal(signal.SIGUSR2)
        deadline = time.monotonic() + _STACK_S
        while self.is_alive and time.monotonic() < deadline:
            time.sleep(0.1)
            with self.log_path.open("rb") as log_file:
                log_file.seek(size)
                lines = redacted(log_file.read().decode(errors="replace"))
            _, found, stack = lines.partition(_STACK)
            if found:
                return "\n".join(stack.strip("\n").splitlines()[:_LOG_LINES])
        return self.last_lines()

    def last_lines(self) -> str:
        """The end of its log; of a crash, where that was, innermost call first."""
        with self.log_path.open("rb") as log_file:
            log_file.seek(max(self.log_path.stat().st_size - _LOG_BYTES, 0))
            lines = redacted(log_file.read().decode(errors="replace")).splitlines()
        crashes = [number for number, line in enumerate(lines) if line.startswith(_CRASH)]
        first = crashes[-1] if crashes else max(len(lines) - _LOG_LINES, 0)
        return "\n".join(lines[first : first + _LOG_LINES])

    @cached_property
    def end(self) -> str | None:
        """What a dead worker said of its end: None if nothing, empty if there was no more work.

        Anything else is trouble that is not its trial's fault.
        """
        with self._channel:
            self._listen()
        return self._messages.end

    def take_notes(self) -> list[str]:
        """What it wanted the user to know since the last call."""
        self._listen()
        return self._messages.take_notes()

    @property
    def epochs(self) -> Mapping[int, float]:
        """Number of each trial it has -> epochs done, as of the last :meth:`take_notes`."""
        return self._messages.epochs

    def _listen(self) -> None:
        with suppress(OSError):  # nothing there, it never read its arguments, or it has ended
            self._channel.setblocking(False)
            while received := self._channel.recv(1 << 16):
                self._messages.add(received)

    def forget_log(self) -> None:
        """Remove the log if nothing was printed."""
        forget_empty_log(self.log_path)

    def cause_of_death(self) -> Death:
        """What is known of the end of a worker that did not say why."""
        code = self._process.wait()
        cause, kind = f"its worker died: exit code {code}", FailureKind.LOST_WORKER
        if code < 0:
            cause = f"its worker died: killed by {signal.Signals(-code).name}"
        self._look_for_kills()
        is_recent = time.monotonic() - self._last_kill_s < _TEARDOWN_S
        if code == -signal.SIGKILL and is_recent:
            limit = memory_limit()
            of_what = f" (this job may take {limit / 2**20:,.0f} MiB)" if limit else ""
            cause = f"its worker was killed by the kernel, as memory ran out{of_what}"
            kind = FailureKind.OUT_OF_MEMORY
        return Death(self.name, cause, kind, self.last_lines())
