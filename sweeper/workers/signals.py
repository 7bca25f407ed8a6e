"""The signals that ask a command to stop: Ctrl-C, a scheduler's SIGTERM, Slurm's SIGUSR1."""

import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from sweeper.errors import CommandStopped, ExitCode

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
#: The first signal drains, the second ends at once; the third finds a process that hangs.
_THIRD = 3


def exit_when_told() -> None:
    """End the process with exit code 4 on SIGTERM and SIGUSR1, as long as nothing must drain.

    By :class:`~sweeper.errors.CommandStopped`, wherever it is: ``SystemExit`` would be taken for
    one of the user's code, should that be running.
    """
    for number in _STOPPING[1:]:
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    raise CommandStopped(f"stopped by {signal.Signals(number).name}")


def reset_signals() -> None:
    """Let them do what they do in any process."""
    signal.set_wakeup_fd(-1)
    for number in _STOPPING:
        signal.signal(number, signal.SIG_DFL)


def write_stack_when_asked() -> None:
    """On SIGUSR2, write where the main thread is to standard error, whatever it is doing.

    So is written where it crashed, as by a segmentation fault in what user code calls.
    """
    faulthandler.enable(all_threads=False)
    faulthandler.unregister(signal.SIGUSR2)  # else a handler of Python's stays above it
    faulthandler.register(signal.SIGUSR2, all_threads=False)


class StopRequest:
    """Whether this process was told to stop, whatever handlers user code has put there.

    Python notes a signal in a pipe before it calls any handler. Lightning's raises at once, and
    others in people's code end the process; neither asks what stood there before.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._noted, self._notes = os.pipe()
        for end in (self._noted, self._notes):
            os.set_blocking(end, False)

    def listen(self) -> None:
        """Take the signals from now on; only a main thread may do so."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in _STOPPING[1:]:  # a scheduler may signal the whole job
            signal.signal(number, lambda *_: self.set())
        signal.set_wakeup_fd(self._notes, warn_on_full_buffer=False)

    def set(self) -> None:
        """Stop for another reason."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether it must stop; asked after every batch."""
        if not self._event.is_set() and self._was_signalled():
            self._event.set()
        return self._event.is_set()

    def _was_signalled(self) -> bool:
        try:
            numbers = os.read(self._noted, 4096)
        except BlockingIOError:  # nothing is noted
            return False
        return any(number in numbers for number in _STOPPING[1:])

    def wait(self, timeout_s: float) -> None:
        """Wait so long, or until it must stop, as long as the handlers are those of listen."""
        self._event.wait(timeout_s)


class StopSignals:
    """What was received inside :meth:`noted`, in order."""

    def __init__(self) -> None:
        self.received: list[int] = []

    @property
    def exit_code(self) -> ExitCode:
        """Of a command that was stopped by them."""
        was_typed = signal.SIGINT in self.received
        return ExitCode.INTERRUPTED if was_typed else ExitCode.STOPPED

    def one_more(self) -> Callable[[], bool]:
        """Tells, whenever it is called, whether one has come since now."""
        n_before = len(self.received)
        return lambda: len(self.received) > n_before

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the signals instead of dying of them; only a main thread may do so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in _STOPPING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        if len(self.received) >= _THIRD:
            raise KeyboardInterrupt  # also out of a lock that a stopped process holds
