"""Every step that leaves something behind for a later process, by name.

A process may be killed before or after any of them, and the same command must go on. So each one
stands in a ``with durable(Step...)`` block, and the tests kill a process on both sides of each.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Literal

#: Names a folder with a file for each point at which a process must kill itself, such as
#: ``claim.before``; reaching the point takes the file away, so it is reached once. For tests.
CRASH_VARIABLE = "SWEEPER_CRASH"


class Step(StrEnum):
    """What survives the process, in the order in which a study meets it."""

    CREATE_STUDY = "create-study"
    ATTRIBUTE = "attribute"
    KEY_FILE = "key-file"
    RESOLVED_FILE = "resolved-file"
    LEASE = "lease"
    TOP_UP = "top-up"
    CLAIM = "claim"
    DRAW = "draw"
    EVENT = "event"
    CHECKPOINT = "checkpoint"
    CHECKPOINT_RENAME = "checkpoint-rename"
    REPORT = "report"
    LOGGED_FILE = "logged-file"
    OBJECT_STORE_CONTENT = "object-store-content"
    OBJECT_STORE_MANIFEST = "object-store-manifest"
    PUT_BACK = "put-back"
    OBJECT_STORE_FETCH = "object-store-fetch"
    OBJECT_STORE_RENAME = "object-store-rename"
    END = "end"
    AGENT = "agent"
    MIRROR_STORE = "mirror-store"
    MIRROR_RUN = "mirror-run"
    MIRROR_SEND = "mirror-send"
    MIRROR_CURSOR = "mirror-cursor"
    MODEL_LOG = "model-log"
    MIRROR_END = "mirror-end"
    MIRROR_COMPLETE = "mirror-complete"
    SUBMIT = "submit"
    SUBMITTED = "submitted"


@contextmanager
def durable(step: Step) -> Iterator[None]:
    """Do one such step inside; an exception passes through."""
    _crash_if_told(step, "before")
    yield
    _crash_if_told(step, "after")


@contextmanager
def replace_file(path: Path, *, sync_folder: bool = False) -> Iterator[Path]:
    """Write a file so that it is what it was or what it is to be, never a part of either.

    The block writes to the path that it is given, where nothing is yet. That is forced to disk,
    then renamed. If anything fails, the old file stays and what was written aside goes.

    Args:
        path: Its folder must be there, and no other process may replace the file meanwhile.
        sync_folder: Force the rename to disk as well. Else the old file may be there again after
            the machine lost power, which matters where others are told next what it says.

    Raises:
        OSError: If the disk does not take it.
    """
    aside = aside_of(path)
    aside.unlink(missing_ok=True)  # of one that was killed
    try:
        yield aside
        _force(aside)
        os.replace(aside, path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()  # on a full disk it takes the room that others need
        raise
    if sync_folder:
        _force(path.parent)


def aside_of(path: Path) -> Path:
    """Where :func:`replace_file` writes first; it is there while it does, or was killed."""
    return path.with_name(f"{path.name}.tmp")


def _force(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _crash_if_told(step: Step, moment: Literal["before", "after"]) -> None:
    folder = os.environ.get(CRASH_VARIABLE)
    if folder is None:
        return
    try:
        os.unlink(os.path.join(folder, f"{step}.{moment}"))
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
