"""A worker's trials on their way to the object store, and from there to another node.

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
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sweeper.durable import Step, durable
from sweeper.errors import DamagedPushError, StoreError
from sweeper.events import Ended, Event, Interrupted, encode_event, read_events
from sweeper.paths import RunPaths
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.object_store import ObjectStore
from sweeper.trial import EpochMetrics

log = logging.getLogger("sweeper")

#: A trial is pushed no more often, and no sooner after its claim: what is lost then is not much.
EVERY_S = 10.0
#: At most this share of the time something is being pushed. Even if training stood still all that
#: while, which it does not, it would cost no more.
_SHARE = 0.05
#: Seconds from a push or a fetch that failed to the next.
_RETRY_S = 30.0
#: So long a worker that gives its trial back waits for the push; see ``order.DRAIN_S``.
_DELIVERY_S = 12.0
#: The one who pushes may replace what is being fetched; it does not so more often than EVERY_S.
_ATTEMPTS = 3
_PAUSE_S = 0.5


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
        self._takes = self._gives = True
        self._thread: threading.Thread | None = None
        self._is_unwanted = threading.Event()

    def postponed(self) -> Container[int]:
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
            if self._gives:
                self._note(
                    f"{exc}\nTrials that others began wait until the object store can be read; "
                    "without run.object_store in the study file they would begin at epoch 1"
                )
            self._gives = False
            return False
        if not self._gives:
            self._note("the object store can be read again")
        self._gives = True
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
            self._settle(StoreError(f"{exc.filename}: it cannot be pushed: {exc.strerror}"))
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
            self._settle(trouble)

    def _settle(self, trouble: StoreError | None) -> None:
        """Note how a push ended, and when the next one may begin."""
        pause_s = _RETRY_S if trouble else (self._now() - self._begun_s) * (1 / _SHARE - 1)
        self._due_s = self._now() + max(EVERY_S, pause_s)
        if trouble and self._takes:
            self._note(
                f"{trouble}\nTraining goes on; should this node vanish, others go on from what "
                "was pushed before"
            )
        elif not trouble and not self._takes:
            self._note("the object store takes trials again")
        self._takes = trouble is None


def fetch_trial(
    object_store: ObjectStore, paths: RunPaths, number: int, note: Callable[[str], None]
) -> None:
    """Bring here what others pushed of a trial that is gone on with here.

    Args:
        object_store: Of the study.
        paths: Its files here, at which nobody is at work.
        number: Of the trial.
        note: Told if it begins anew, as nothing whole is left of it.

    Raises:
        StoreError: If the object store or the disk do not allow it.
    """
    try:
        _fetch(object_store, paths, number, has_ended=False)
    except DamagedPushError as exc:
        note(f"trial {number}: {exc}")
    if not paths.events(number).exists():
        note(
            f"trial {number}: what others did of it is not in the object store; it begins at "
            "epoch 1"
        )


def fetch_ended(object_store: ObjectStore, paths: RunPaths, number: int) -> None:
    """Bring here log and model of a trial that has ended, if a log with more than ours is there.

    Raises:
        DamagedPushError: If they are not what was pushed.
        StoreError: If the object store or the disk do not allow it.
    """
    _fetch(object_store, paths, number, has_ended=True)


def _fetch(object_store: ObjectStore, paths: RunPaths, number: int, *, has_ended: bool) -> None:
    for n_left in reversed(range(_ATTEMPTS)):
        try:
            _fetch_once(object_store, paths, number, has_ended=has_ended)
        except DamagedPushError:
            raise
        except StoreError as exc:
            if n_left == 0:
                raise
            log.warning("trial %d: %s; trying again", number, exc)
            time.sleep(_PAUSE_S)
        else:
            return


@store_errors()
def _fetch_once(
    object_store: ObjectStore, paths: RunPaths, number: int, *, has_ended: bool
) -> None:
    path, folder = paths.events(number), paths.fetched(number)
    shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
    manifest = object_store.newest(number)
    if manifest is None or path.name not in manifest.files:
        return
    object_store.fetch(number, manifest, path.name, folder / path.name)
    theirs, _ = read_events(folder / path.name)
    ours, n_whole = read_events(path)
    if missing := _missing(theirs, ours):
        places = [paths.model(number)]
        # A checkpoint here that is further stays: on this machine the trial is further.
        if not has_ended and _last_epoch(theirs) >= _last_epoch(ours):
            places += [paths.checkpoint(number), paths.user_checkpoint(number)]
        for name in manifest.files:
            if PurePosixPath(name).parts[0] in [place.name for place in places]:
                object_store.fetch(number, manifest, name, folder / name)
        for place in places:
            if (folder / place.name).exists():
                if place.is_dir():
                    shutil.rmtree(place)
                with durable(Step.OBJECT_STORE_RENAME):
                    os.replace(folder / place.name, place)
        if not has_ended and not isinstance(missing[-1], Interrupted | Ended):
            missing.append(Interrupted(time.time(), "its node was not heard of any more"))
        # Last, as long as it lacks them all is done again; and at once, so that whoever reads it
        # sees that another process began the trial.
        _extend(path, n_whole, missing, aside=folder / path.name)
    shutil.rmtree(folder)


def _extend(path: Path, n_whole: int, events: Iterable[Event], *, aside: Path) -> None:
    """Let a log go on after its first ``n_whole`` bytes with these events, all at once."""
    before = path.read_bytes()[:n_whole] if path.exists() else b""
    with durable(Step.OBJECT_STORE_RENAME):
        with aside.open("wb") as file:
            file.write(before + b"".join(map(encode_event, events)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)


def _missing(theirs: Sequence[Event], ours: Sequence[Event]) -> list[Event]:
    """What another log of the same trial has beyond ours. An epoch that ours has is the same."""
    lines = {encode_event(event) for event in ours}
    known = _last_epoch(ours)
    return [
        event
        for event in theirs
        if encode_event(event) not in lines
        and not (isinstance(event, EpochMetrics) and event.epoch <= known)
    ]


def _last_epoch(events: Iterable[Event]) -> int:
    return max((event.epoch for event in events if isinstance(event, EpochMetrics)), default=0)
