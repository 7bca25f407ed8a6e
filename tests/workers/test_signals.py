import os
import signal
import subprocess
import sys
import threading

import pytest

from sweeper.errors import ExitCode
from sweeper.workers.signals import StopSignals


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, ExitCode.INTERRUPTED),
        (signal.SIGTERM, ExitCode.STOPPED),
        (signal.SIGUSR1, ExitCode.STOPPED),
    ],
)
def test_a_signal_is_noted_and_decides_the_exit_code(number: int, code: ExitCode) -> None:
    before = signal.getsignal(number)
    signals = StopSignals()
    with signals.noted():
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert signals.received == [number, number]
    assert signals.exit_code == code
    assert signal.getsignal(number) == before


def test_a_command_without_signals_was_stopped_by_its_time() -> None:
    assert StopSignals().exit_code == ExitCode.STOPPED


def test_in_another_thread_signals_stay_as_they_are() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with StopSignals().noted():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_before_there_is_anything_to_drain_a_signal_ends_the_command(name: str) -> None:
    code = (
        "import os, signal\n"
        "from sweeper.workers.signals import exit_when_told\n"
        "exit_when_told()\n"
        f"os.kill(os.getpid(), signal.{name})\n"
        "signal.pause()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (4, "")
