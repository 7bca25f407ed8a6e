"""Between a worker and the program that it runs, so that no process of it outlives the trial.

A worker may be killed at any moment, and so may its agent; what a program has started may have
left its process group. So a process of its own, in a session of its own, starts the program,
adopts whoever loses a parent below it, and ends them all: when it is told to, when the program
itself has ended, or when nobody is there to tell.

It is started by file, without site-packages, so it costs some 20 ms and needs nothing of sweeper:
``supervisor.py GRACE_S WORD...``. Standard input is the worker's socket. In comes a byte, which
asks the program to end, or the socket's end, which ends it at once. Out goes ``started PID``, then
``exit CODE``, ``signal NUMBER`` or ``refused ERRNO``, once no process is left.
"""

import ctypes
import math
import os
import select
import signal
import sys
import time
from collections.abc import Iterator

_CONTROL = 0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
#: So long the kernel may take to clear away what was killed.
_CLEAR_S = 5.0
_POLL_S = 0.02
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def main(grace_s: float, words: list[str]) -> None:
    """Start the program and see it to its end.

    Args:
        grace_s: Seconds from being asked to end to SIGKILL.
        words: The program and its arguments.
    """
    _show_name()
    for number in _IGNORED:  # a scheduler may signal the whole job; the worker decides
        signal.signal(number, signal.SIG_IGN)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    awake, waking = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        program = _start(words)
    except OSError as exc:
        _tell(f"refused {exc.errno}")
        return
    status = _await_end(program, awake, grace_s)
    _tell(f"signal {-status}" if status < 0 else f"exit {status}")


def _show_name() -> None:
    """Be called so in ``ps`` and ``top``, on Linux."""
    if sys.platform == "linux":
        with open("/proc/self/comm", "w", encoding="ascii") as file:
            file.write("sweeper-program")


def _start(words: list[str]) -> int:
    """The process id of the program, which leads a session; OSError if it cannot be started.

    It begins once the worker knows of it, so that somebody ends it should this process be killed.
    """
    failing, failed = os.pipe2(os.O_CLOEXEC)
    waiting, ready = os.pipe2(os.O_CLOEXEC)
    program = os.fork()
    if not program:
        try:
            os.close(ready)
            os.setsid()
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if not os.read(waiting, 1):
                os._exit(1)
            for number in (*_IGNORED, signal.SIGCHLD, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.execvp(words[0], words)
        except OSError as exc:
            os.write(failed, str(exc.errno).encode())
        finally:
            os._exit(1)
    _tell(f"started {program}")
    os.close(failed)
    os.write(ready, b"g")
    errno = os.read(failing, 16)
    os.close(failing)
    if errno:
        os.waitpid(program, 0)
        raise OSError(int(errno), "")
    return program


def _await_end(program: int, awake: int, grace_s: float) -> int:
    """Wait until no process is left; how the program ended, minus the signal if by one."""
    status: int | None = None
    deadline_s = math.inf
    are_asked = False
    while time.monotonic() < deadline_s:
        timeout_s = min(deadline_s - time.monotonic(), 3600.0)
        ready, _, _ = select.select([_CONTROL, awake], [], [], max(timeout_s, 0.0))
        if awake in ready:
            os.read(awake, 4096)
        if _CONTROL in ready:
            if not _listen():
                break
            if deadline_s == math.inf:
                _signal(-program, signal.SIGTERM)
                deadline_s = time.monotonic() + grace_s
        status = _reap(program, status)
        if status is not None:
            left = list(_descendants(program))
            if not left:
                return status
            if not are_asked:
                are_asked = True
                for pid in left:
                    _signal(pid, signal.SIGTERM)
                deadline_s = min(deadline_s, time.monotonic() + grace_s)
    return _kill(program, status)


def _kill(program: int, status: int | None) -> int:
    """Kill all that is left, again and again, as it may be starting others."""
    end_s = time.monotonic() + _CLEAR_S
    while left := list(_descendants(program)):
        for pid in left:
            _signal(pid, signal.SIGKILL)
        status = _reap(program, status)
        if time.monotonic() > end_s:
            break
        time.sleep(_POLL_S)
    status = _reap(program, status)
    return -signal.SIGKILL if status is None else status


def _reap(program: int, status: int | None) -> int | None:
    """Take note of the children that have ended, the program among them."""
    try:
        while True:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return status
            if pid == program:
                status = os.waitstatus_to_exitcode(ended)
    except ChildProcessError:
        return status


def _descendants(program: int) -> Iterator[int]:
    """Process ids of all that live below this process; where that is not told, the group's."""
    parents = dict(_parents())
    if not parents:
        if _signal(-program, 0):
            yield -program
        return
    below = {os.getpid()}
    while found := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= found
        yield from found


def _parents() -> Iterator[tuple[int, int]]:
    """Of each process that is no zombie, its id and that of its parent; on Linux alone."""
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    stat = file.read()
            except OSError:  # it has ended since
                continue
            state, parent = stat[stat.rindex(b")") + 2 :].split(maxsplit=2)[:2]
            if state not in b"ZX":
                yield int(name), int(parent)


def _signal(pid: int, number: int) -> bool:
    """Signal a process, or a group if negative; whether it was there."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _listen() -> bytes:
    """What the worker says; nothing if it is gone."""
    try:
        return os.read(_CONTROL, 16)
    except OSError:
        return b""


def _tell(text: str) -> None:
    try:
        os.write(_CONTROL, f"{text}\n".encode())
    except OSError:  # the worker is gone
        return


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
