"""Workers, and what exports models, share one import of torch: a process that has it forks them.

A fork takes milliseconds where an import takes a second of a core, and shares the 300 MB that
come with it. It is safe here because the server runs one thread and touches no device. A worker
is an orphan of the server, adopted by the agent as its nearest subreaper, so the agent waits for
it like for any child, and the server's death does it no harm.
"""

import ctypes
import gc
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn, Protocol

from sweeper.imports import loading

log = logging.getLogger("sweeper")

#: Argument that makes a worker's process the server.
SERVE = "--serve"
#: What a process may be: its argument if it is started anew, and what the server is asked for.
WORKER, EXPORTER = "--worker", "--exporter"
#: Of a request: one of those with what it is given, or names of modules to import.
_MOST_BYTES = 4096
#: So long the first request waits for the server, which may be importing from a slow disk ...
_IMPORT_S = 60.0
#: ... and a later one, less than the agent's lease lasts.
_FORK_S = 5.0
#: -P: the working directory does not come before the standard library.
_WORKER = [sys.executable, "-P", "-m", "sweeper.workers"]
#: Else numpy's OpenBLAS and pyarrow's jemalloc would start threads on import.
_NO_THREADS = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Child(Protocol):
    """What is used of :class:`subprocess.Popen`."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """The exit code if it has ended; minus the signal's number if one killed it."""

    def wait(self) -> int:
        """Wait for its end."""

    def send_signal(self, sig: int) -> None:
        """Signal it unless it has ended."""


def forget_empty_log(path: Path) -> None:
    """Remove what a child printed into, if that is nothing; whoever deletes mlruns was sooner."""
    with suppress(FileNotFoundError):
        if path.stat().st_size == 0:
            path.unlink()


class ForkServer:
    """The agent's side. The server imports while the agent does something else.

    Where forking is not to be had, each worker is a process that imports torch itself.

    Attributes:
        note: Told if the server is lost.
    """

    def __init__(self, note: Callable[[str], None] = log.warning) -> None:
        self.note = note
        self._modules: tuple[str, ...] = ()
        self._has_begun = False
        self._server: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()

    def begin(self) -> None:
        """Let it begin to import, which takes seconds; :meth:`start` does it too."""
        if self._has_begun:
            return
        self._has_begun = True
        if not _adopt_orphans():
            return
        # A message is read as it was sent, however many wait.
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests.settimeout(_IMPORT_S)
        with theirs:
            self._server = subprocess.Popen(
                [*_WORKER, SERVE],
                stdin=theirs.fileno(),
                # What goes wrong here goes wrong in a worker without it, which has a log.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**_environment(), **_NO_THREADS},
                start_new_session=True,
            )
        self._ask_for(self._modules)

    def require(self, modules: Sequence[str]) -> None:
        """Have it import more than what every worker needs, before it forks the next one."""
        self._modules += tuple(modules)
        self._ask_for(modules)

    def _ask_for(self, modules: Sequence[str]) -> None:
        if self._server is not None and modules:
            with suppress(OSError):  # it is lost, which the start of a worker says
                self._requests.sendall(" ".join(modules).encode())

    def start(self, *, stdin: int, output: int, n_threads: int = 1, kind: str = WORKER) -> Child:
        """Start a process as the leader of a session.

        Args:
            stdin: File descriptor.
            output: File descriptor of what it prints.
            n_threads: Of libraries that start threads on import.
            kind: What it is.
        """
        with self._starting:
            self.begin()
            if self._server is not None:
                try:
                    return self._fork(kind, stdin, output)
                except OSError as exc:
                    if not self._has_begun:
                        raise  # it was closed meanwhile
                    self.note(
                        f"the process that forks workers is lost ({exc}); starting them anew"
                    )
                    self._end_server()
        return subprocess.Popen(
            [*_WORKER, kind],
            stdin=stdin,
            stdout=output,
            stderr=output,
            env={**_environment(), "OMP_NUM_THREADS": str(n_threads)},
            start_new_session=True,  # Ctrl-C in the terminal is for the agent alone
        )

    def _fork(self, kind: str, stdin: int, output: int) -> "ForkedProcess":
        socket.send_fds(self._requests, [kind.encode()], [stdin, output])
        reply = self._requests.recv(256)
        if not reply.isdigit():
            raise ChildProcessError(reply.decode() or "it ended")
        self._requests.settimeout(_FORK_S)
        return ForkedProcess(int(reply))

    def close(self) -> None:
        """End the server, as if it had never begun; workers live on."""
        self._has_begun = False
        self._end_server()

    def _end_server(self) -> None:
        if self._server is not None:
            self._requests.close()
            self._server.kill()
            self._server.wait()
            self._server = None


def _environment() -> dict[str, str]:
    """Of a process that loads torch, which reads it then: a thread without work sleeps.

    OpenMP's own default spins. That is no faster on an idle machine, and where something else
    wants the cores, threads spin away the time in which the one that they wait for could run.
    MLflow is as patient in it as the user has it, and not as the mirror.
    """
    from sweeper.tracking import NOT_FOR_OTHERS  # which sets them, and must not in a worker

    others = {name: value for name, value in os.environ.items() if name not in NOT_FOR_OTHERS}
    return {"OMP_WAIT_POLICY": "PASSIVE", **others}


def _adopt_orphans() -> bool:
    """Be the parent of descendants that lose theirs, from now on; whether this system can.

    It is never undone, as another agent in this process may count on it.
    """
    if sys.platform != "linux":
        return False
    done: int = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return done == 0


class ForkedProcess:
    """A :class:`Child` that the server forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """See :class:`Child`."""
        return self._reap(os.WNOHANG)

    def wait(self) -> int:
        """See :class:`Child`."""
        code = self._reap(0)
        assert code is not None
        return code

    def send_signal(self, sig: int) -> None:
        """See :class:`Child`."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def _reap(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def name_process(name: str) -> None:
    """Be called so in ``ps`` and ``top``, on Linux; at most 15 characters."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name, encoding="ascii")


def serve(lives: Mapping[str, Callable[[], NoReturn]]) -> None:
    """The server's side: import or fork as each request on standard input says, until its end.

    Args:
        lives: The whole life of a forked process, by what it is asked to be.
    """
    name_process("sweeper-forks")
    gc.collect()
    gc.freeze()  # a collection would touch, and so copy, every page
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as requests:
        while True:
            request, fds, _, _ = socket.recv_fds(requests, _MOST_BYTES, 2)
            if not request:
                return
            if not fds:
                _import(request.decode())
                continue
            stdin, output = fds
            try:
                run = lives[request.decode()]
                reply = str(_fork_orphan(requests, stdin, output, run))
            except OSError as exc:
                reply = str(exc)
            os.close(stdin)
            os.close(output)
            requests.sendall(reply.encode())


def _import(names: str) -> None:
    with loading(names):
        for name in names.split():
            import_module(name)


def _fork_orphan(
    requests: socket.socket, stdin: int, output: int, run: Callable[[], NoReturn]
) -> int:
    """Fork twice; the process id of the second."""
    if len(os.listdir("/proc/self/task")) > 1:
        raise OSError("it has more than one thread, and a fork could copy a held lock")
    reading, writing = os.pipe()
    parent = os.fork()
    if not parent:
        try:
            if os.fork():
                os._exit(0)
            os.setsid()
            os.write(writing, b"%d" % os.getpid())
            for target, source in ((0, stdin), (1, output), (2, output)):
                os.dup2(source, target)
            for fd in (reading, writing, stdin, output):
                os.close(fd)
            requests.close()
            run()
        finally:
            os._exit(1)  # never back into the server's loop
    os.waitpid(parent, 0)  # with its end the worker is the agent's
    os.close(writing)
    with open(reading, "rb") as pipe:
        pid = pipe.read()
    if not pid:
        raise OSError("its fork could not fork")
    return int(pid)
