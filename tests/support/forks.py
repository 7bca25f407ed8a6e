"""Processes of a test, forked from a server that has imported what they need."""

import os
from multiprocessing import Process
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any


class _Process(ForkServerProcess):
    """Sees the environment of the test, not that in which the server once began."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._environment = dict(os.environ)

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self._environment)
        super().run()


class _Forks(ForkServerContext):
    Process = _Process


FORKS = _Forks()
# Of the test's process, which has threads, no copy could be relied on.
FORKS.set_forkserver_preload(
    ["sweeper.study.conclude", "sweeper.study.create", "sweeper.tracking.logged_models"]
)


def started(target: object, *args: object) -> Process:
    """A process that has set the event, which is its last argument."""
    event = FORKS.Event()
    process = FORKS.Process(target=target, args=(*args, event))
    process.start()
    event.wait()
    return process  # type: ignore[return-value]


def kill(process: Process) -> None:
    process.kill()
    process.join()
