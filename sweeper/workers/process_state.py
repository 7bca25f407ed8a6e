"""The process as a worker had it, put back after each trial.

A worker lives on between trials. What the user's code switches in one of them would else hold for
all that come after it in the same worker, and their numbers would depend on the order of trials.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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


class ProcessState:
    """The switches as they are now."""

    def __init__(self) -> None:
        self._switches = [*torch_switches(), *python_switches()]  # torch knows its threads best
        self._before = {switch.name: _read(switch) for switch in self._switches}
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
            changed = [*self._put_environment_back(), *self._put_switches_back()]
            if news := [name for name in changed if name not in self._told]:
                self._told.update(news)
                tell(
                    f"the code of a trial changed {', '.join(news)}; that holds for the whole "
                    "process, so after each trial it is put back as the worker had it"
                )

    def _put_environment_back(self) -> list[str]:
        now, before = dict(os.environ), self._environment
        names = {name for name, _ in now.items() ^ before.items()} - _OF_LIBRARIES
        for name in names:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]
        if "TZ" in names:
            time.tzset()
        return [f"os.environ[{name!r}]" for name in sorted(names)]

    def _put_switches_back(self) -> list[str]:
        names = []
        for switch in self._switches:
            before = self._before[switch.name]
            if _read(switch) == before:
                continue
            try:
                switch.assign(before)
                names.append(switch.name)
            except Exception as exc:  # of whatever the code has made of its process
                names.append(f"{switch.name} (which cannot be put back: {exc})")
        return names


def _read(switch: Switch) -> Any:
    try:
        return switch.read()
    except Exception:  # a folder that is gone; torch's newer and older switches at odds
        return None
