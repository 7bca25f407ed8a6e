import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.commands.check.model import measure_model
from sweeper.config.references import load_reference
from sweeper.config.settings import DataConfig, ModelConfig
from sweeper.data.own.load import load_custom
from sweeper.errors import CommandStopped, ExitCode
from sweeper.trial import DataInfo
from sweeper.workers.signals import StopRequest, StopSignals, exit_when_told


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


@pytest.fixture
def own_handlers() -> Iterator[None]:
    """Lets a test change the handlers of its process."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    fd = signal.set_wakeup_fd(-1)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.set_wakeup_fd(fd)


@pytest.mark.usefixtures("own_handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_worker_knows_that_it_is_told_to_stop_whoever_handles_the_signal(
    number: int, is_replaced: bool
) -> None:
    request = StopRequest()
    request.listen()
    seen = []
    if is_replaced:
        signal.signal(number, lambda *_: seen.append(request.is_set()))
    signal.signal(signal.SIGUSR2, lambda *_: None)
    os.kill(os.getpid(), signal.SIGUSR2)
    assert not request.is_set()
    os.kill(os.getpid(), number)
    assert request.is_set()
    assert seen == [True] * is_replaced


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
        "from sweeper import cli\n"
        f"cli.app = lambda **_: (os.kill(os.getpid(), signal.{name}), signal.pause())\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (4, f"stopped by {name}\n")


STOPPED_WITHIN = """
import os, signal

def stop(*args, **params):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except Exception as exc:
        raise AssertionError("user code has swallowed it") from exc
"""


@pytest.mark.parametrize("where", ["load", "model", "import"])
def test_a_command_that_is_told_to_end_is_no_error_of_the_code_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    module = f"stopped_in_{where}"
    text = STOPPED_WITHIN + ("\nstop()\n" if where == "import" else "")
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    act = {
        "load": lambda: load_custom(DataConfig(name=f"{module}:stop"), tmp_path),
        "model": lambda: measure_model(
            ModelConfig(architecture=f"{module}:stop"), DataInfo("a", "b", (2,), 2, 4, 4), 2
        ),
        "import": lambda: load_reference(f"{module}:stop"),
    }[where]
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        exit_when_told()
        with pytest.raises(CommandStopped, match="stopped by SIGTERM"):
            act()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
