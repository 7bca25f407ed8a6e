"""What exports the models of trials, as the agent sees it: a process that has torch.

It is forked where workers are, and imports ``torch.export`` while a first trial runs. So the agent
loads no torch, and what sends to MLflow waits for nothing but the exporting.
"""

import json
import os
import signal
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeper.config.records import read_record
from sweeper.errors import RequestRefusedError
from sweeper.tracking.exporting import (
    Exported,
    ExportError,
    ExportKilledError,
    ExportTask,
    UnreadableError,
)
from sweeper.workers.forkserver import EXPORTER, Child, ForkServer, forget_empty_log

#: A model is tried again if the process died meanwhile, which may have been for another reason.
_ATTEMPTS = 2


class ExporterProcess:
    """Exports in another process; see :class:`~sweeper.tracking.exporting.Exporting`.

    For one thread at a time, but for :meth:`begin` and :meth:`close`.

    Args:
        server: Starts it.
        import_dirs: Folders in which the user's code is found.
        functions: Those that no module has, for :func:`~sweeper.config.in_memory.take_over`.
        log_path: What it and the user's code print.
    """

    def __init__(
        self, server: ForkServer, import_dirs: list[str], functions: str, log_path: Path
    ) -> None:
        self._server = server
        self._code = {"import_dirs": import_dirs, "functions": functions}
        self._log_path = log_path
        self._beginning = threading.Lock()
        self._process: Child | None = None
        self._n_unread = 0
        self._is_closed = False

    def begin(self) -> None:
        """Start it if it does not run; what it imports takes seconds. A request does it, too."""
        with self._beginning:
            if self._process is not None or self._is_closed:
                return
            ours, theirs = socket.socketpair()
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            with theirs, self._log_path.open("ab") as log_file:
                self._process = self._server.start(
                    stdin=theirs.fileno(), output=log_file.fileno(), kind=EXPORTER
                )
            self._channel = ours
            self._replies = ours.makefile("rb")
            self._n_unread = 0
            with suppress(OSError):  # it died already, which the first request notices
                self._send(self._code)

    def check(self, weights: Path) -> None:
        """See :class:`~sweeper.tracking.exporting.Exporting`."""
        self._ask({"check": str(weights)})

    def export(self, task: ExportTask, program: Path) -> Exported:
        """See :class:`~sweeper.tracking.exporting.Exporting`."""
        return read_record(Exported, self._ask({"export": _encode(task), "to": str(program)}))

    def prepare(self, task: ExportTask) -> None:
        """See :class:`~sweeper.tracking.exporting.Exporting`; it is not waited for."""
        self.begin()
        with suppress(OSError):
            self._send({"prepare": _encode(task)})
            self._n_unread += 1

    def close(self) -> None:
        """End it for good, whatever it does; who waits for it gets a RequestRefusedError."""
        self._is_closed = True
        self._end()

    def _end(self) -> int:
        """End it; how it ended, as :attr:`Child.returncode`."""
        with self._beginning:
            if self._process is None:
                return 0
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            code = self._process.wait()
            self._process = None
            self._replies.close()
            self._channel.close()
            forget_empty_log(self._log_path)
            return code

    def _ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """What it replies.

        Raises:
            UnreadableError: As it says.
            ExportError: As it says, or if it dies of it.
            ExportKilledError: If it is killed again and again.
            OSError: As it says, or if it cannot be started.
            RequestRefusedError: If it was closed.
        """
        code = 0
        for _ in range(_ATTEMPTS):
            self.begin()
            try:
                self._send(request)
                reply = self._receive()
            except (OSError, EOFError) as exc:
                if self._is_closed:
                    raise RequestRefusedError("nobody waits for models any more") from exc
                code = self._end()
                continue
            if "unreadable" in reply:
                raise UnreadableError(reply["unreadable"])
            if "failed" in reply:
                raise ExportError(reply["failed"])
            if "disk" in reply:
                raise OSError(*reply["disk"])
            return reply
        if code == -signal.SIGKILL:
            raise ExportKilledError(
                "what exports models is killed by SIGKILL, as the kernel does where memory ends"
            )
        log = f"; log: {self._log_path}" if self._log_path.exists() else ""
        raise ExportError(f"what exports models died of it, {_tell_end(code)}{log}")

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._process is None:
            raise EOFError
        self._channel.sendall(json.dumps(message).encode() + b"\n")

    def _receive(self) -> dict[str, Any]:
        """The reply to the latest request; those that nobody waited for came before it."""
        for _ in range(self._n_unread + 1):
            line = self._replies.readline()
            if not line.endswith(b"\n"):
                raise EOFError
        self._n_unread = 0
        reply: dict[str, Any] = json.loads(line)
        return reply


def _tell_end(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _encode(task: ExportTask) -> dict[str, Any]:
    paths = {"weights": str(task.weights), "preprocessing": str(task.preprocessing)}
    return {**asdict(task), **paths}
