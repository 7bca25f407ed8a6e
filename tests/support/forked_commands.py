"""Commands of sweeper that are forked from a process which has all imports behind it.

Started anew, a command spends 4 to 10 CPU seconds on importing and first using torch and MLflow;
forked, 0.3 to 1.8. To the test it is a :class:`subprocess.Popen` like any other: the test's
process is the parent that reaps it. What reads the environment while it is imported (OMP_*), and
imports at the wrong time, cannot be tested so: see :func:`popen` for how to start it anew.
"""

import ctypes
import gc
import importlib
import json
import logging
import os
import pkgutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

import sweeper
from sweeper.workers import forkserver
from sweeper.workers.signals import reset_signals

#: ``anew`` in the environment starts every command as a user does.
VARIABLE = "SWEEPER_TEST_COMMANDS"
ANEW = "anew"
#: What a command imports while it runs, beside sweeper's own modules.
_PACKAGES = (
    "alembic.command",
    "mlflow.pyfunc",
    "mlflow.pytorch",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.tracking._tracking_service.utils",
    "pandas",
    "sklearn.datasets",
)
#: No library may start a thread, as forks would lack it.
_SINGLE = {
    "OMP_THREAD_LIMIT": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow's allocator
}
#: Threads that start commands would each begin a server, and end the adoption of others.
_ONE_AT_A_TIME = Lock()
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def popen(command: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
    """Start ``python -m sweeper ...``, forked unless the environment says otherwise."""
    is_forked = sys.platform == "linux" and os.environ.get(VARIABLE) != ANEW
    return (_Command if is_forked else subprocess.Popen)(command, text=True, **options)


class _Command(subprocess.Popen[str]):
    """A forked command; always the leader of a session."""

    def _execute_child(
        self,
        args: Sequence[str],
        executable: None,
        preexec_fn: None,
        close_fds: bool,
        pass_fds: tuple[int, ...],
        cwd: str | Path | None,
        env: Mapping[str, str] | None,
        *rest: Any,
    ) -> None:
        pipes = rest[3:9]
        fds = [own if fd == -1 else fd for own, fd in enumerate((pipes[0], pipes[3], pipes[5]))]
        request = {
            "words": list(args[3:]),
            "folder": str(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
        }
        with _ONE_AT_A_TIME:
            self.pid = _server().start(json.dumps(request).encode(), fds)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]  # of Popen, which is told apart


class _Server:
    """The test's side of the process that commands are forked from."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={**os.environ, **_SINGLE},
                start_new_session=True,
            )

    def start(self, request: bytes, fds: list[int]) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            with _adopting():
                socket.send_fds(self._requests, [b"command"], [theirs.fileno(), theirs.fileno()])
                reply = self._requests.recv(256)
            if not reply.isdigit():
                raise ChildProcessError(reply.decode() or "no command can be forked any more")
            socket.send_fds(ours, [request], fds)
        return int(reply)


@cache
def _server() -> _Server:
    """One for this process; it ends with it."""
    return _Server()


@contextmanager
def _adopting() -> Iterator[None]:
    """Become the parent of a command whose parent ends meanwhile.

    Not for longer: else what the command leaves behind when it is killed would be the tests', too.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this system lets nobody adopt a process")
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


# The server's side.


def _serve() -> None:
    gc.disable()
    for module in pkgutil.walk_packages(sweeper.__path__, "sweeper."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in _PACKAGES:
        importlib.import_module(name)
    from sweeper.tracking.exported import import_export

    import_export()
    gc.enable()
    forkserver.serve({"command": _live})
    os._exit(0)  # nothing is taken apart, which takes a second


def _live() -> NoReturn:
    """The whole life of a forked command, which standard input tells what it is."""
    import sweeper.__main__ as main
    from sweeper.cli import run_process

    with socket.socket(fileno=os.dup(0)) as channel:
        message, fds, _, _ = socket.recv_fds(channel, 1 << 20, 3)
    request = json.loads(message)
    _become([main.__file__, *request["words"]], fds, request["environment"])
    os.chdir(request["folder"])
    del sys.path[0]
    sys.modules["__main__"] = main
    forkserver.subprocess = _ForkingWorkers  # type: ignore[assignment,attr-defined]
    run_process()


def _become(argv: list[str], fds: Sequence[int], environment: Mapping[str, str]) -> None:
    """Be as a process that was started so."""
    for target, source in enumerate(fds):
        os.dup2(source, target)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.argv[:] = argv
    os.environ.clear()
    os.environ.update(environment)
    reset_signals()


class _WorkerServer(subprocess.Popen[bytes]):
    """The process that a command's workers are forked from, forked from the command."""

    def _execute_child(
        self,
        args: Sequence[str],
        executable: None,
        preexec_fn: None,
        close_fds: bool,
        pass_fds: tuple[int, ...],
        cwd: None,
        env: Mapping[str, str],
        *rest: Any,
    ) -> None:
        pipes = rest[3:9]
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.setsid()
                _become(["sweeper.workers"], (pipes[0], pipes[3], pipes[5]), env)
                logging.root.handlers.clear()
                from sweeper.workers.__main__ import LIVES

                forkserver.serve(LIVES)
            finally:
                os._exit(1)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


class _ForkingWorkers:
    """In the place of ``subprocess`` in the module that starts the server of workers."""

    DEVNULL = subprocess.DEVNULL

    @staticmethod
    def Popen(args: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":  # noqa: N802
        is_server = forkserver.SERVE in args and len(os.listdir("/proc/self/task")) == 1
        return (_WorkerServer if is_server else subprocess.Popen)(args, **options)


if __name__ == "__main__":
    _serve()
