"""Whatever the code of a trial switches, the next trial finds the process as it was."""

import gc
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing

from sweeper.workers.process_state import ProcessState
from sweeper.workers.python_switches import Switch, python_switches
from sweeper.workers.torch_switches import torch_switches
from tests.support.clock import Clock

SWITCHES = {switch.name: switch for switch in [*python_switches(), *torch_switches()]}


def limit_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))


def take_signals() -> None:
    """As asyncio does."""
    _, notes = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(notes)


def join_group() -> None:
    file = Path(tempfile.mkdtemp(), "group")
    torch.distributed.init_process_group("gloo", file.as_uri(), rank=0, world_size=1)


#: What users write, by the name of the switch.
CODE: dict[str, Callable[[], object]] = {
    "os.chdir": lambda: os.chdir("/"),
    "os.umask": lambda: os.umask(0o077),
    "os.nice": lambda: os.nice(1),
    "os.sched_setaffinity": lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    "resource.setrlimit": limit_files,
    "signal.setitimer": lambda: signal.setitimer(signal.ITIMER_PROF, 1000),
    "signal.signal": lambda: signal.signal(signal.SIGTERM, lambda *_: None),
    "signal.set_wakeup_fd": take_signals,
    "sys.setrecursionlimit": lambda: sys.setrecursionlimit(5000),
    "sys.settrace": lambda: sys.settrace(lambda *_: None),
    "sys.setprofile": lambda: sys.setprofile(lambda *_: None),
    "gc.enable": gc.disable,
    "gc.set_threshold": lambda: gc.set_threshold(123, 4, 5),
    "locale.setlocale": lambda: SWITCHES["locale.setlocale"].assign("C.UTF-8"),
    "socket.setdefaulttimeout": lambda: socket.setdefaulttimeout(7.0),
    "logging.disable": lambda: logging.disable(logging.CRITICAL),
    "logging.root.setLevel": lambda: logging.root.setLevel(logging.DEBUG),
    "logging.root.handlers": lambda: logging.root.addHandler(logging.NullHandler()),
    "warnings.filters": lambda: warnings.simplefilter("error"),
    "multiprocessing.get_context": multiprocessing.get_start_method,
    "multiprocessing.set_start_method": lambda: multiprocessing.set_start_method(
        "spawn", force=True
    ),
    "numpy.seterr": lambda: np.seterr(all="raise"),
    "sys.argv": lambda: sys.argv.append("--mine"),
    "sys.path": lambda: sys.path.insert(0, "/mine"),
    "sys.stdin": lambda: setattr(sys, "stdin", None),
    "sys.stdout": lambda: setattr(sys, "stdout", sys.stderr),
    "sys.stderr": lambda: setattr(sys, "stderr", None),
    "sys.excepthook": lambda: setattr(sys, "excepthook", print),
    "sys.breakpointhook": lambda: setattr(sys, "breakpointhook", print),
    "threading.excepthook": lambda: setattr(threading, "excepthook", print),
    "tempfile.tempdir": lambda: setattr(tempfile, "tempdir", "/mine"),
    "torch.backends: the precision of float32": lambda: torch.set_float32_matmul_precision("high"),
    "torch.set_default_dtype": lambda: torch.set_default_dtype(torch.float64),
    "torch.set_default_device": lambda: torch.set_default_device("meta"),
    "torch.set_num_threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "torch.use_deterministic_algorithms": lambda: torch.use_deterministic_algorithms(
        True, warn_only=True
    ),
    "torch.set_grad_enabled": lambda: torch.set_grad_enabled(False),
    "torch.autograd.set_detect_anomaly": lambda: torch.autograd.set_detect_anomaly(True, False),
    "torch.set_flush_denormal": lambda: torch.set_flush_denormal(True),
    "torch.set_warn_always": lambda: torch.set_warn_always(True),
    "torch.set_autocast_enabled('cpu')": lambda: torch.set_autocast_enabled("cpu", True),
    "torch.set_autocast_enabled('cuda')": lambda: torch.set_autocast_enabled("cuda", True),
    "torch.backends.cuda.enable_flash_sdp": lambda: torch.backends.cuda.enable_flash_sdp(False),
    "torch.backends.cuda.enable_mem_efficient_sdp": lambda: (
        torch.backends.cuda.enable_mem_efficient_sdp(False)
    ),
    "torch.backends.cuda.enable_math_sdp": lambda: torch.backends.cuda.enable_math_sdp(False),
    "torch.backends.cuda.enable_cudnn_sdp": lambda: torch.backends.cuda.enable_cudnn_sdp(False),
    "torch.multiprocessing.set_sharing_strategy": lambda: (
        torch.multiprocessing.set_sharing_strategy("file_system")
    ),
    "torch.distributed.init_process_group": join_group,
}
#: Of a machine with one core, without a GPU or with one that has several.
UNTRIED = {"os.sched_setaffinity", "threadpoolctl.threadpool_limits", "torch.cuda.set_device"}


def change(switch: Switch) -> None:
    """As user code does; an attribute of torch is set to another value of its kind."""
    if switch.name in CODE:
        CODE[switch.name]()
        return
    value = switch.read()
    switch.assign(not value if isinstance(value, bool) else value + 1)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.mark.parametrize("name", sorted(SWITCHES.keys() - UNTRIED))
def test_every_switch_is_put_back_and_told(name: str, told: list[str]) -> None:
    switch = SWITCHES[name]
    before = switch.read()
    with ProcessState().kept(told.append):
        change(switch)
        during = _read(switch)
    assert during != before, "nothing was switched"
    assert switch.read() == before
    assert any(name in line for line in told) == switch.is_told


def _read(switch: Switch) -> Any:
    try:
        return switch.read()
    except RuntimeError as exc:  # of an older switch of precision
        return exc


MATMUL, NEWER = torch.backends.cuda.matmul, "fp32_precision"


@pytest.mark.skipif(not hasattr(MATMUL, NEWER), reason="this torch has the older switches alone")
@pytest.mark.parametrize("name", [NEWER, "allow_tf32"])
def test_both_ways_to_say_tf32_are_as_before_and_agree(name: str, told: list[str]) -> None:
    before = getattr(MATMUL, NEWER), MATMUL.allow_tf32
    with ProcessState().kept(told.append):
        setattr(MATMUL, name, "tf32" if name == NEWER else True)
    assert (getattr(MATMUL, NEWER), MATMUL.allow_tf32) == before


def test_variables_are_put_back_whether_new_changed_or_removed(
    monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    monkeypatch.setenv("CHANGED", "before")
    monkeypatch.setenv("REMOVED", "before")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    before = dict(os.environ)
    with ProcessState().kept(told.append):
        os.environ.update(NEW="secret", CHANGED="secret", TZ="Asia/Tokyo")
        del os.environ["REMOVED"]
        time.tzset()
    assert dict(os.environ) == before
    assert time.localtime().tm_gmtoff == 0
    assert told == [
        "the code of a trial changed os.environ['CHANGED'], os.environ['NEW'], "
        "os.environ['REMOVED'], os.environ['TZ']; that holds for the whole process, so after "
        "each trial it is put back as the worker had it"
    ]


def test_what_was_told_once_is_not_told_again_and_nothing_is_no_news(told: list[str]) -> None:
    state = ProcessState()
    for _ in range(3):
        with state.kept(told.append):
            torch.set_default_dtype(torch.float64)
    with state.kept(told.append):
        pass
    assert len(told) == 1
    with state.kept(told.append):
        torch.set_default_dtype(torch.float64)
        sys.path.append("/mine")
    assert len(told) == 2
    assert "sys.path" in told[1]
    assert "dtype" not in told[1]


def test_what_loaders_with_processes_set_once_is_no_news(told: list[str]) -> None:
    state = ProcessState()
    with state.kept(told.append):
        rows = torch.utils.data.TensorDataset(torch.arange(4))
        loaded = torch.utils.data.DataLoader(rows, num_workers=1)
        assert [int(row) for (row,) in loaded] == [0, 1, 2, 3]
    assert told == []
    left: Any = signal.getsignal(signal.SIGCHLD)
    assert left.__module__.startswith("torch.utils.data")  # which would not set it again
    with state.kept(told.append):
        multiprocessing.set_start_method("spawn")
    assert "multiprocessing.set_start_method" in told[0]


def test_a_trial_that_fails_is_followed_by_the_same(told: list[str]) -> None:
    with suppress(KeyError), ProcessState().kept(told.append):
        torch.set_default_dtype(torch.float64)
        raise KeyError
    assert torch.get_default_dtype() == torch.float32
    assert told


def test_what_cannot_be_put_back_is_said(tmp_path: Path, told: list[str]) -> None:
    here = tmp_path / "here"
    here.mkdir()
    before = Path.cwd()
    os.chdir(here)
    try:
        with ProcessState().kept(told.append):
            os.chdir(before)
            here.rmdir()
    finally:
        os.chdir(before)
    assert "os.chdir (which cannot be put back: " in told[0]


def test_what_one_of_several_trials_in_turn_switches_holds_in_its_own_steps(
    told: list[str],
) -> None:
    clock = Clock(0.0)
    state, seen = ProcessState(now=clock), []

    def steps(dtype: torch.dtype, at: int) -> Iterator[None]:
        for n in range(4):
            if n == at:
                torch.set_default_dtype(dtype)
                os.environ["MINE"] = str(dtype)
            seen.append((dtype, n, torch.get_default_dtype(), os.environ.get("MINE")))
            yield
            clock.now_s += 2.0

    one, other = torch.float64, torch.float16
    lanes = [state.in_turns(steps(*each), told.append) for each in ((one, 0), (other, 2))]
    while lanes:
        lanes = [lane for lane in lanes if next(lane, "over") is None]
        assert torch.get_default_dtype() == torch.float32
        assert "MINE" not in os.environ
    assert [found[2:] for found in seen if found[0] == one] == [(one, str(one))] * 4
    of_other = [found[2:] for found in seen if found[0] == other]
    assert of_other == [(torch.float32, None)] * 2 + [(other, str(other))] * 2
    assert len(told) == 1


def test_a_trial_that_fails_in_its_turn_leaves_the_process_to_the_others(told: list[str]) -> None:
    clock = Clock(0.0)

    def steps() -> Iterator[None]:
        yield  # nobody looks again before a second is over, or the trial is
        torch.set_default_dtype(torch.float64)
        raise KeyError

    lane = ProcessState(now=clock).in_turns(steps(), told.append)
    next(lane)
    with pytest.raises(KeyError):
        next(lane)
    assert torch.get_default_dtype() == torch.float32
    assert told
