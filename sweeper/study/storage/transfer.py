"""A worker's trials on their way to the object store.

What a trial's folder holds is pushed from a thread: training waits for no network. What others
pushed is fetched before the worker opens the trial's event log.
"""

import io
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import BinaryIO

from sweeper.errors import StoreError
from sweeper.outage import Outage
from sweeper.paths import RunPaths
from sweeper.study.storage.fetch import fetch_trial
from sweeper.study.storage.object_store import ObjectStore

#: A trial is pushed no more often, and no sooner after its claim: what is lost then is not much.
EVERY_S = 10.0
#: At most this share of the time something is being pushed. Even if training stood still all that
#: while, which it does not, it would cost no more.
_SHARE = 0.05
#: Seconds from a push or a fetch that failed to the next.
_RETRY_S = 30.0
#: So long a worker that gives its trial back waits for the push; see ``protocol.DRAIN_S``.
_DELIVERY_S = 12.0


class TrialTransfer:
    """Carries the trials of one process, one after the other.

    Trouble with the object store is noted once and fails no trial: what was not pushed is
    pushed later, and a trial of which nobody knows how far it had come is left for a while.

    Args:
        object_store: Of the study.
        paths: Its files here.
        note: Told of trouble, and when it is over.
        now: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        object_store: ObjectStore,
        paths: RunPaths,
        note: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._object_store = object_store
        self._paths = paths
        self._note = note
        self._now = now
        self._due_s = self._begun_s = -math.inf
        self._postponed: dict[int, float] = {}
        self._no_fetch = Outage(
            note,
            meanwhile="Trials that others began wait until the object store can be read; "
            "without run.object_store in the study file they would begin at epoch 1",
            over="the object store can be read again",
            now=now,
        )
        self._no_push = Outage(
            note,
            meanwhile="Training goes on; should this node vanish, others go on from what was "
            "pushed before",
            over="the object store takes trials again",
            now=now,
        )
        self._thread: threading.Thread | None = None
        self._is_unwanted = threading.Event()

    def postponed(self) -> set[int]:
        """Trials that cannot begin here for now, as the object store did not give their files."""
        return {number for number, until_s in self._postponed.items() if self._now() < until_s}

    def begin(self, number: int, claim: int) -> bool:
        """Bring here what others did of a trial that was claimed. Its log is not open.

        Returns:
            Whether it may begin. If not, nobody knows how far it had come: it must be put back.
        """
        self._is_unwanted.set()  # what is still on its way is of a trial that has ended
        self._due_s = self._now() + EVERY_S
        if claim == 1:
            return True
        try:
            fetch_trial(self._object_store, self._paths, number, self._note)
        except StoreError as exc:
            self._postponed[number] = self._now() + _RETRY_S
            self._no_fetch.bear(exc)
            return False
        self._no_fetch.end()
        return True

    def offer(self, number: int, claim: int) -> None:
        """Push the trial as it stands, if it is time to, without waiting for that.

        Call it where nothing writes to the trial's files.
        """
        if not self._is_at_work() and self._now() >= self._due_s:
            self._start(number, claim)

    def deliver(self, number: int, claim: int) -> None:
        """Push the trial as it stands, before another process can claim it."""
        deadline_s = self._now() + _DELIVERY_S
        self._is_unwanted.set()  # what is still on its way is older
        self._join(deadline_s)
        if not self._is_at_work():
            self._start(number, claim)
        self._join(deadline_s)
        if self._is_at_work():
            self._note(
                f"trial {number} could not be pushed to the object store within "
                f"{_DELIVERY_S:.0f} s; another node goes on from what was pushed before"
            )

    def _is_at_work(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _join(self, deadline_s: float) -> None:
        if self._thread is not None:
            self._thread.join(max(0.0, deadline_s - self._now()))

    def _start(self, number: int, claim: int) -> None:
        self._begun_s = self._now()
        try:
            files, opened = self._open(number)
        except OSError as exc:
            self._note_end(StoreError(f"{exc.filename}: it cannot be pushed: {exc.strerror}"))
            return
        self._is_unwanted = is_unwanted = threading.Event()
        self._thread = threading.Thread(
            target=self._push,
            args=(number, claim, files, opened, is_unwanted),
            name="object_store",
            daemon=True,
        )
        self._thread.start()

    def _open(self, number: int) -> tuple[Mapping[str, BinaryIO], ExitStack]:
        """The trial's files by name, as they are now whatever is written meanwhile."""
        events, checkpoint = self._paths.events(number), self._paths.checkpoint(number)
        files: dict[str, BinaryIO] = {events.name: io.BytesIO(events.read_bytes())}
        with ExitStack() as opened:
            # These are replaced, never changed.
            for path in [checkpoint, *self._paths.sendable_files(number)]:
                if path.exists():
                    name = path.relative_to(events.parent).as_posix()
                    files[name] = opened.enter_context(path.open("rb"))
            for path in sorted(self._paths.user_checkpoint(number).rglob("*")):
                if path.is_file():
                    copy = opened.enter_context(tempfile.TemporaryFile(dir=events.parent))
                    with path.open("rb") as source:
                        shutil.copyfileobj(source, copy)
                    copy.seek(0)
                    files[path.relative_to(events.parent).as_posix()] = copy
            return files, opened.pop_all()

    def _push(
        self,
        number: int,
        claim: int,
        files: Mapping[str, BinaryIO],
        opened: ExitStack,
        is_unwanted: threading.Event,
    ) -> None:
        trouble = None
        with opened:
            try:
                self._object_store.push(number, claim, files, lambda: not is_unwanted.is_set())
            except StoreError as exc:
                trouble = exc
        if not is_unwanted.is_set():
            self._note_end(trouble)

    def _note_end(self, trouble: StoreError | None) -> None:
        """Note how a push ended, and when the next one may begin."""
        pause_s = _RETRY_S if trouble else (self._now() - self._begun_s) * (1 / _SHARE - 1)
        self._due_s = self._now() + max(EVERY_S, pause_s)
        if trouble:
            self._no_push.bear(trouble)
        else:
            self._no_push.end()
