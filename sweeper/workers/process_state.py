"""The process as a worker had it, put back after each trial.

A worker lives on between trials. What the user's code switches in one of them would else hold for
all that come after it in the same worker, and their numbers would depend on the order of trials.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from sweeper.workers.python_switches import Switch, python_switches
from sweeper.workers.torch_switches import torch_switches

#: Variables that libraries set once for the whole process, at their first use.
_OF_LIBRARIES = frozenset(
    {
        "CUDA_MODULE_LOADING",
        "KMP_DUPLICATE_LIB_OK",
        "KMP_INIT_AT_FORK",
        "TORCHINDUCTOR_CACHE_DIR",
        "TRITON_CACHE_DIR",
        "_MLFLOW_TELEMETRY_SESSION_ID",
    }
)

#: So often it is looked whether one of several trials in turn has switched something.
_LOOK_EVERY_S = 1.0
_OVER = object()


class _Change(NamedTuple):
    """A switch that is not as the worker had it, and how it is."""

    switch: Switch
    now: Any


class ProcessState:
    """The switches as they are now.

    Args:
        now: Seconds of a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        switches = [*torch_switches(), *python_switches()]  # torch knows its threads best
        self._before = [(switch, _read(switch)) for switch in switches]
        self._environment = dict(os.environ)
        self._told: set[str] = set()

    @contextmanager
    def kept(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Put back what is switched in the block.

        Args:
            tell: Told of each switch once.
        """
        try:
            yield
        finally:
            self._put_back(tell)

    def in_turns(self, steps: Iterator[None], tell: Callable[[str], None]) -> Iterator[None]:
        """Let what a trial switches hold in its own steps alone, as others have theirs between.

        To look takes a quarter of a millisecond. So it is done after the first step, the last one
        and each that begins a second later than the look before; where a trial has switched
        something, after each.

        Args:
            steps: Of the trial.
            tell: As of :meth:`kept`.
        """
        own: list[_Change] = []
        due_s, is_over = self._now(), False
        while not is_over:
            for switch, value in own:
                switch.assign(value)
            begun_s, is_over = self._now(), True
            try:
                is_over = next(steps, _OVER) is _OVER
            finally:
                if is_over or own or begun_s >= due_s:
                    own = self._put_back(tell)
                    due_s = self._now() + _LOOK_EVERY_S
            if not is_over:
                yield

    def _put_back(self, tell: Callable[[str], None]) -> list[_Change]:
        """Put back what is otherwise, and say so; what that was."""
        changes, names = [], []
        for switch, before in [*self._changed_variables(), *self._before]:
            now = _read(switch)
            if now == before:
                continue
            changes.append(_Change(switch, now))
            try:
                switch.assign(before)
                if switch.is_told:
                    names.append(switch.name)
            except Exception as exc:  # of whatever the code has made of its process
                names.append(f"{switch.name} (which cannot be put back: {exc})")
        if news := [name for name in names if name not in self._told]:
            self._told.update(news)
            tell(
                f"the code of a trial changed {', '.join(news)}; that holds for the whole "
                "process, so after each trial it is put back as the worker had it"
            )
        return changes

    def _changed_variables(self) -> Iterator[tuple[Switch, str | None]]:
        """Variables of the environment, and how they were."""
        before = self._environment
        names = {name for name, _ in dict(os.environ).items() ^ before.items()} - _OF_LIBRARIES
        for name in sorted(names):
            read, assign = partial(os.environ.get, name), partial(_set_variable, name)
            yield Switch(f"os.environ[{name!r}]", read, assign), before.get(name)


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
    if name == "TZ":
        time.tzset()


def _read(switch: Switch) -> Any:
    try:
        return switch.read()
    except Exception:  # a folder that is gone; torch's newer and older switches at odds
        return None
