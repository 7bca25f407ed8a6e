"""Every step that leaves something behind for a later process, by name.

A process may be killed before or after any of them, and the same command must go on. So each one
stands in a ``with durable(Step...)`` block, and the tests kill a process on both sides of each.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
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
    SUBMIT = "submit"
    SUBMITTED = "submitted"


@contextmanager
def durable(step: Step) -> Iterator[None]:
    """Do one such step inside; an exception passes through."""
    _crash_if_told(step, "before")
    yield
    _crash_if_told(step, "after")


def _crash_if_told(step: Step, moment: Literal["before", "after"]) -> None:
    folder = os.environ.get(CRASH_VARIABLE)
    if folder is None:
        return
    try:
        os.unlink(os.path.join(folder, f"{step}.{moment}"))
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
