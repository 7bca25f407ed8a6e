"""Nodes that share nothing but an object store, and a trial that goes from one to another."""

import threading
from pathlib import Path
from typing import Any

from sweeper.durable import replace_file
from sweeper.events import Event, EventWriter, Interrupted, Started, read_events
from sweeper.paths import RunPaths
from sweeper.study.storage.object_store import ObjectStore
from sweeper.study.storage.transfer import TrialTransfer
from tests.support.clock import Clock

NUMBER = 0


def started(resumed: int) -> Started:
    return Started(
        1_700_000_000.0 + resumed, resumed, {"train.l1": 0.1}, {"seed": "7"}, None, None
    )


STOPPED = Interrupted(1_700_000_009.0, "stopped", {"step": 1.5})
SILENT = Interrupted(1_700_000_010.0, "its process ended without a word")


class SlowObjectStore(ObjectStore):
    """Answers when it is told to, and takes so many seconds of a clock for a push."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url, study="small", key="0a1b2c")
        self.answers = threading.Event()
        self.answers.set()
        self.takes_s = 0.0
        self._clock = clock

    def push(self, *arguments: Any) -> None:
        self.answers.wait()
        super().push(*arguments)
        self._clock.now_s += self.takes_s


class Node:
    """A folder of its own, and one worker there."""

    def __init__(self, folder: Path, url: str) -> None:
        self.paths = RunPaths(folder / "mlruns", "small")
        self.notes: list[str] = []
        self.clock = Clock()
        self.object_store = SlowObjectStore(url, self.clock)
        self.transfer = TrialTransfer(self.object_store, self.paths, self.notes.append, self.clock)

    def log(self, *events: Event) -> None:
        with EventWriter(self.paths.events(NUMBER)) as writer:
            for event in events:
                writer.append(event)

    def logged(self) -> list[Event]:
        return read_events(self.paths.events(NUMBER))[0]

    def save(self, content: bytes) -> None:
        """As a checkpoint is: it is replaced, never changed."""
        with replace_file(self.paths.checkpoint(NUMBER)) as aside:
            aside.write_bytes(content)

    def saved(self) -> bytes | None:
        path = self.paths.checkpoint(NUMBER)
        return path.read_bytes() if path.exists() else None

    def wait(self) -> None:
        """Until the push under way is over."""
        if self.transfer._thread:
            self.transfer._thread.join()

    def pushed(self) -> bytes | None:
        """The checkpoint in the object store."""
        manifest = self.object_store.newest(NUMBER)
        if manifest is None:
            return None
        target = self.paths.root / "looked"
        self.object_store.fetch(NUMBER, manifest, "checkpoint.pt", target)
        return target.read_bytes()
