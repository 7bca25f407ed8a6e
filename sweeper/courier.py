"""A worker's trials on their way to the depot, and from there to a node that goes on with one.

What a trial's folder holds is pushed from a thread: training waits for no network. What others
pushed is fetched before the worker opens the trial's event log.
"""

import io
import logging
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import BinaryIO

from sweeper.depot import Depot
from sweeper.durable import Step, durable
from sweeper.errors import StoreError
from sweeper.events import Event, EventWriter, encode_event, read_events
from sweeper.paths import RunPaths
from sweeper.storage import store_errors
from sweeper.trial import EpochMetrics

log = logging.getLogger("sweeper")

#: A trial is pushed no more often, and no sooner after its claim: what is lost then is not much.
EVERY_S = 10.0
#: At most this share of the time something is being pushed. Even if training stood still all that
#: while, which it does not, it would cost no more.
_SHARE = 0.05
#: Seconds from a push that failed to the next.
_RETRY_S = 30.0
#: So long a worker that gives its trial back waits for the push; see ``order.DRAIN_S``.
_DELIVERY_S = 12.0
#: The one who pushes may replace what is being fetched; it does not so more often than EVERY_S.
_ATTEMPTS = 3


class Courier:
    """Carries the trials of one worker, one after the other.

    Trouble with the depot is noted once and fails no trial: what was not pushed is pushed later.

    Args:
        depot: Of the study.
        paths: Its files here.
        note: Told of trouble, and when it is over.
        now: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        depot: Depot,
        paths: RunPaths,
        note: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._depot = depot
        self._paths = paths
        self._note = note
        self._now = now
        self._due_s = self._begun_s = -math.inf
        self._is_well = True
        self._thread: threading.Thread | None = None

    def begin(self, number: int, claim: int) -> None:
        """Bring here what others did of a trial that this worker claimed. Its log is not open.

        Raises:
            StoreError: If the depot or the disk do not allow it. Then nobody knows how far the
                trial had come, so it must not begin here.
        """
        self._due_s = self._now() + EVERY_S
        if claim > 1:
            fetch_trial(self._depot, self._paths, number)

    def offer(self, number: int, claim: int) -> None:
        """Push the trial as it stands, if it is time to, without waiting for that.

        Call it where nothing writes to the trial's files.
        """
        is_at_work = self._thread is not None and self._thread.is_alive()
        if not is_at_work and self._now() >= self._due_s:
            self._start(number, claim)

    def deliver(self, number: int, claim: int) -> None:
        """Push the trial as it stands, before another worker can claim it."""
        deadline_s = self._now() + _DELIVERY_S
        if self._thread is not None:
            self._thread.join(_DELIVERY_S)  # the one before
        if self._thread is None or not self._thread.is_alive():
            self._start(number, claim)
        if self._thread is not None:
            self._thread.join(max(0.0, deadline_s - self._now()))
            if self._thread.is_alive():
                self._note(
                    f"trial {number} could not be pushed to the depot within {_DELIVERY_S:.0f} s; "
                    "another node goes on from what was pushed before"
                )

    def _start(self, number: int, claim: int) -> None:
        self._begun_s = self._now()
        try:
            files, opened = self._open(number)
        except OSError as exc:
            self._settle(StoreError(f"{exc.filename}: it cannot be pushed: {exc.strerror}"))
            return
        self._thread = threading.Thread(
            target=self._push, args=(number, claim, files, opened), name="depot", daemon=True
        )
        self._thread.start()

    def _open(self, number: int) -> tuple[Mapping[str, BinaryIO], ExitStack]:
        """The trial's files by name, as they are now whatever is written meanwhile."""
        events, checkpoint = self._paths.events(number), self._paths.checkpoint(number)
        files: dict[str, BinaryIO] = {events.name: io.BytesIO(events.read_bytes())}
        with ExitStack() as opened:
            if checkpoint.exists():  # it is replaced, never changed
                files[checkpoint.name] = opened.enter_context(checkpoint.open("rb"))
            for path in sorted(self._paths.user_checkpoint(number).rglob("*")):
                if path.is_file():
                    copy = opened.enter_context(tempfile.TemporaryFile(dir=events.parent))
                    with path.open("rb") as source:
                        shutil.copyfileobj(source, copy)
                    copy.seek(0)
                    files[path.relative_to(events.parent).as_posix()] = copy
            return files, opened.pop_all()

    def _push(
        self, number: int, claim: int, files: Mapping[str, BinaryIO], opened: ExitStack
    ) -> None:
        trouble = None
        with opened:
            try:
                self._depot.push(number, claim, files)
            except StoreError as exc:
                trouble = exc
        self._settle(trouble)

    def _settle(self, trouble: StoreError | None) -> None:
        """Note how a push ended, and when the next one may begin."""
        pause_s = _RETRY_S if trouble else (self._now() - self._begun_s) * (1 / _SHARE - 1)
        self._due_s = self._now() + max(EVERY_S, pause_s)
        if trouble and self._is_well:
            self._note(
                f"{trouble}\nTraining goes on; should this node vanish, others go on from what "
                "was pushed before"
            )
        elif not trouble and not self._is_well:
            self._note("the depot takes trials again")
        self._is_well = trouble is None


def fetch_trial(depot: Depot, paths: RunPaths, number: int) -> None:
    """Bring here what others pushed of a trial, if its log is ahead of the one here.

    Nobody may be at work on the trial here.

    Raises:
        StoreError: If the depot or the disk do not allow it.
    """
    for n_left in reversed(range(_ATTEMPTS)):
        try:
            _fetch(depot, paths, number)
        except StoreError as exc:
            if n_left == 0:
                raise
            log.warning("trial %d: %s; trying again", number, exc)
        else:
            return


@store_errors()
def _fetch(depot: Depot, paths: RunPaths, number: int) -> None:
    path, folder = paths.events(number), paths.fetched(number)
    shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
    manifest = depot.newest(number)
    if manifest is None or path.name not in manifest.files:
        return
    depot.fetch(number, manifest, path.name, folder / path.name)
    theirs, _ = read_events(folder / path.name)
    if missing := _missing(theirs, read_events(path)[0]):
        places = (paths.checkpoint(number), paths.user_checkpoint(number), paths.model(number))
        for name in manifest.files:
            if PurePosixPath(name).parts[0] in [place.name for place in places]:
                depot.fetch(number, manifest, name, folder / name)
        for place in places:
            if (folder / place.name).exists():
                if place.is_dir():
                    shutil.rmtree(place)
                with durable(Step.DEPOT_RENAME):
                    os.replace(folder / place.name, place)
        with EventWriter(path) as events:  # last: as long as it lacks them, all is done again
            for event in missing:
                events.append(event)
    shutil.rmtree(folder)


def _missing(theirs: list[Event], ours: list[Event]) -> list[Event]:
    """What another log of the same trial has beyond ours. An epoch that ours has is the same."""
    lines = {encode_event(event) for event in ours}
    known = max((event.epoch for event in ours if isinstance(event, EpochMetrics)), default=0)
    return [
        event
        for event in theirs
        if encode_event(event) not in lines
        and not (isinstance(event, EpochMetrics) and event.epoch <= known)
    ]
