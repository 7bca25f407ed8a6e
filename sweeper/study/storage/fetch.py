"""A trial's files on their way from the object store to a node that did not write them."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.durable import Step, durable, replace_file
from sweeper.errors import DamagedPushError, EventLogError, StoreError
from sweeper.events import Ended, Event, Interrupted, Started, encode_event, read_events
from sweeper.paths import RunPaths
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.manifest import Manifest
from sweeper.study.storage.object_store import ObjectStore
from sweeper.trial import EpochMetrics

log = logging.getLogger("sweeper")

#: The one who pushes may replace what is being fetched; it does not so more often than
#: ``transfer.EVERY_S``.
_ATTEMPTS = 3
_PAUSE_S = 0.5


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
    """Bring here all of a trial that has ended, if a log with more than ours is there.

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
    try:
        theirs, _ = read_events(folder / path.name)
    except EventLogError as exc:
        raise DamagedPushError(f"the log in the object store is none of ours: {exc}") from exc
    ours, n_whole = read_events(path)
    if missing := _missing(theirs, ours):
        is_further = not has_ended and _last_epoch(ours) > _last_epoch(theirs)
        wanted = _wanted(
            paths, number, manifest, theirs, has_ended=has_ended, is_further=is_further
        )
        for name in filter(wanted.has, manifest.files):
            object_store.fetch(number, manifest, name, folder / name)
        wanted.put_in_place(folder, path.parent)
        if not has_ended and not isinstance(missing[-1], Interrupted | Ended):
            missing.append(Interrupted(time.time(), "its node was not heard of any more"))
        # Last, as long as it lacks them all is done again; and at once, so that whoever reads it
        # sees that another process began the trial.
        _extend(path, n_whole, missing)
    shutil.rmtree(folder)


@dataclass(frozen=True)
class _Wanted:
    """What of a push comes here.

    Attributes:
        places: Files and folders here that it takes the place of.
        logged: Names of files that stand beside what only the code of this machine has logged.
    """

    places: Sequence[Path]
    logged: Sequence[str]

    def has(self, name: str) -> bool:
        """Whether a name of the manifest is among it."""
        return name in self.logged or any(_belongs(name, place) for place in self.places)

    def put_in_place(self, folder: Path, trial_dir: Path) -> None:
        """Move all of it that lies in a folder to where the trial has it."""
        for place in self.places:
            if (folder / place.name).exists():
                if place.is_dir():
                    shutil.rmtree(place)
                place.parent.mkdir(exist_ok=True)
                with durable(Step.OBJECT_STORE_RENAME):
                    os.replace(folder / place.name, place)
        for name in self.logged:
            (trial_dir / name).parent.mkdir(parents=True, exist_ok=True)
            with durable(Step.OBJECT_STORE_RENAME):
                os.replace(folder / name, trial_dir / name)


def _wanted(
    paths: RunPaths,
    number: int,
    manifest: Manifest,
    theirs: Sequence[Event],
    *,
    has_ended: bool,
    is_further: bool,
) -> _Wanted:
    """What is here stays where the trial is further on this machine."""
    places = kept_preprocessing(paths, theirs)
    logged = [name for name in manifest.files if _belongs(name, paths.logged_files(number))]
    if is_further:
        folder = paths.trial_dir(number)
        return _Wanted(places, [name for name in logged if not (folder / name).exists()])
    places += paths.model_files(number)
    if not has_ended:
        places += [paths.checkpoint(number), paths.user_checkpoint(number)]
    return _Wanted(places, logged)


def kept_preprocessing(paths: RunPaths, events: Iterable[Event]) -> list[Path]:
    """Files of what was fitted to the data of a trial, which it shares with others."""
    started = [event.data for event in events if isinstance(event, Started)]
    digests = {data.preprocessing for data in started if data is not None}
    return [paths.preprocessing(digest) for digest in sorted(digests - {""})]


def _belongs(name: str, place: Path) -> bool:
    """Whether a name of a manifest is that file, or below that folder, which has no suffix."""
    return name == place.name if place.suffix else name.startswith(f"{place.name}/")


def _extend(path: Path, n_whole: int, events: Iterable[Event]) -> None:
    """Let a log go on after its first ``n_whole`` bytes with these events, all at once."""
    before = path.read_bytes()[:n_whole] if path.exists() else b""
    # What is appended to it from now on is forced to disk, and would be lost without its name.
    with durable(Step.OBJECT_STORE_RENAME), replace_file(path, sync_folder=True) as aside:
        aside.write_bytes(before + b"".join(map(encode_event, events)))


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
