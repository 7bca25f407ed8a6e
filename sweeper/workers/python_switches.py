"""What holds for a whole process, as far as Python, numpy and the system have it."""

import gc
import locale
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from sweeper.workers.signals import write_stack_when_asked

_ATTRIBUTES = (
    "sys.argv",
    "sys.path",
    "sys.stdin",
    "sys.stdout",
    "sys.stderr",
    "sys.excepthook",
    "sys.breakpointhook",
    "threading.excepthook",
    "tempfile.tempdir",
    "logging.root.handlers",
)
#: Its handler of SIGCHLD is set by the first loader with processes, once for the whole process.
_LOADERS = "torch.utils.data._utils.signal_handling"
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class Switch(NamedTuple):
    """Something that the code of one trial can change for the whole process.

    Attributes:
        name: What that code would call or set.
        read: Its value, which compares equal to another if nothing was changed.
        assign: Takes such a value.
        is_told: Whether the user hears of it; of what libraries do by themselves, nobody does.
    """

    name: str
    read: Callable[[], Any]
    assign: Callable[[Any], object]
    is_told: bool = True


def attribute_switches(names: Sequence[str]) -> Iterator[Switch]:
    """Attributes by dotted name, as far as there are such; lists are compared by content."""
    for name in names:
        place, _, attribute = name.rpartition(".")
        owner = _find(place)
        if hasattr(owner, attribute):
            yield Switch(name, partial(_get, owner, attribute), partial(_set, owner, attribute))


def _find(place: str) -> Any:
    """What a dotted name stands for; None if there is no such thing."""
    module, *names = place.split(".")
    found: Any = import_module(module)
    for name in names:
        found = getattr(found, name, None)
    return found


def _get(owner: Any, name: str) -> Any:
    value = getattr(owner, name)
    return list(value) if isinstance(value, list) else value


def _set(owner: Any, name: str, value: Any) -> None:
    setattr(owner, name, list(value) if isinstance(value, list) else value)


def python_switches() -> Iterator[Switch]:
    """All but the environment, of which each variable counts for itself."""
    tempfile.gettempdir()  # which is kept at its first use
    yield from attribute_switches(_ATTRIBUTES)
    yield Switch("os.chdir", os.getcwd, os.chdir)
    yield Switch("os.umask", _umask, os.umask)
    yield Switch("os.nice", partial(os.getpriority, os.PRIO_PROCESS, 0), _set_priority)
    if hasattr(os, "sched_getaffinity"):
        yield Switch(
            "os.sched_setaffinity",
            partial(os.sched_getaffinity, 0),
            partial(os.sched_setaffinity, 0),
        )
    yield Switch("resource.setrlimit", _limits, _set_limits)
    yield Switch("signal.setitimer", _timers, _stop_timers)
    yield Switch("signal.signal", _handlers, _set_handlers)
    yield Switch("signal.set_wakeup_fd", _wakeup_fd, signal.set_wakeup_fd)
    yield Switch("sys.setrecursionlimit", sys.getrecursionlimit, sys.setrecursionlimit)
    yield Switch("sys.settrace", sys.gettrace, sys.settrace)
    yield Switch("sys.setprofile", sys.getprofile, sys.setprofile)
    yield Switch("gc.enable", gc.isenabled, lambda on: gc.enable() if on else gc.disable())
    yield Switch("gc.set_threshold", gc.get_threshold, lambda values: gc.set_threshold(*values))
    yield Switch(
        "locale.setlocale",
        partial(locale.setlocale, locale.LC_ALL),
        partial(locale.setlocale, locale.LC_ALL),
    )
    yield Switch("socket.setdefaulttimeout", socket.getdefaulttimeout, socket.setdefaulttimeout)
    yield Switch("logging.disable", lambda: logging.root.manager.disable, logging.disable)
    yield Switch("logging.root.setLevel", logging.root.getEffectiveLevel, logging.root.setLevel)
    filters = list(warnings.filters)
    yield Switch("warnings.filters", _fatal_warnings, lambda _: _set_filters(filters))
    yield from _start_methods()
    yield Switch("numpy.seterr", np.geterr, lambda modes: np.seterr(**modes))
    libraries = ThreadpoolController().lib_controllers
    yield Switch(
        "threadpoolctl.threadpool_limits",
        lambda: [library.num_threads for library in libraries],
        lambda counts: [
            library.set_num_threads(n) for library, n in zip(libraries, counts, strict=True)
        ],
    )


def _start_methods() -> Iterator[Switch]:
    """How processes are started, and whether that is fixed, as the first one does by itself."""
    fixed = partial(multiprocessing.get_start_method, allow_none=True)
    fix = partial(multiprocessing.set_start_method, force=True)
    before, default = fixed(), multiprocessing.get_all_start_methods()[0]
    yield Switch(
        "multiprocessing.set_start_method", lambda: fixed() or default, lambda _: fix(before)
    )
    yield Switch("multiprocessing.get_context", fixed, fix, is_told=False)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _set_priority(priority: int) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, priority)


def _limits() -> dict[int, tuple[int, int]]:
    numbers = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
    return {number: resource.getrlimit(number) for number in numbers}


def _set_limits(limits: Mapping[int, tuple[int, int]]) -> None:
    for number, limit in limits.items():
        if resource.getrlimit(number) != limit:
            resource.setrlimit(number, limit)


def _timers() -> list[bool]:
    """Whether each runs."""
    return [any(signal.getitimer(timer)) for timer in _TIMERS]


def _stop_timers(running: list[bool]) -> None:
    for timer, is_running in zip(_TIMERS, running, strict=True):
        if not is_running:
            signal.setitimer(timer, 0)


def _handlers() -> dict[int, Any]:
    return {number: _handler(number) for number in signal.valid_signals()}


def _handler(number: int) -> Any:
    """What answers a signal; that of torch's loaders counts as none, and stays."""
    handler = signal.getsignal(number)
    return signal.SIG_DFL if getattr(handler, "__module__", "") == _LOADERS else handler


def _set_handlers(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        if _handler(number) != handler:
            signal.signal(number, handler)
    write_stack_when_asked()  # its handler is none of Python's


def _wakeup_fd() -> int:
    """Where Python notes signals, which a worker looks at."""
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    return fd


def _fatal_warnings() -> list[Any]:
    """The filters that make errors; packages bring others whenever they are imported."""
    return [entry for entry in warnings.filters if entry[0] == "error"]


def _set_filters(filters: list[Any]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]
    with warnings.catch_warnings():  # whose end makes what was looked up before be forgotten
        pass
