"""The first call of a user's ``load`` is made by one process at a time.

It often downloads, straight into the file that it reads later, so two at one moment would read
half a file. A process that has made the call keeps the lock shared as long as it uses the data.
So one that can have the lock alone is the first, and one that can share it is not.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sweeper.errors import DataError
from sweeper.locks import FileLock

Value = TypeVar("Value")

log = logging.getLogger("sweeper")

_POLL_S = 0.1
#: Files of locks; calls that share one by chance wait for each other without need.
_N_LOCKS = 256


class _Turns:
    """What this process holds: the lock of the data that it uses."""

    def __init__(self) -> None:
        self._lock: FileLock | None = None

    def take(self, path: Path, what: str) -> bool:
        """Wait until no process makes a first call; whether this one is to make it."""
        if self._lock is not None:
            self._lock.drop()
        self._lock = lock = FileLock(path)
        is_told = False
        while True:
            if lock.try_acquire():
                return True
            if lock.try_acquire(shared=True):
                return False
            if not is_told:
                log.info("%s: waiting for another process that calls it for the first time", what)
                is_told = True
            time.sleep(_POLL_S)

    def share(self) -> None:
        """The first call is over: let the others make theirs."""
        assert self._lock is not None
        self._lock.share()

    def leave(self) -> None:
        """The call failed: another process may be the first."""
        self.share()  # else processes that the call has forked would keep it alone
        assert self._lock is not None
        self._lock.drop()


_turns = _Turns()


def call_in_turn(
    call: Callable[[], Value], *, reference: str, params: Mapping[str, Any], folder: Path
) -> Value:
    """Call alone if no other process has the data yet; a failure then is tried again once.

    Args:
        call: Calls the user's function.
        reference: Of that function.
        params: That it is given.
        folder: Of the locks.

    Raises:
        DataError: Whatever ``call`` raises, of a first call the second time.
    """
    key = json.dumps([reference, sorted(params.items())], default=repr)
    bucket = int(hashlib.sha256(key.encode()).hexdigest(), 16) % _N_LOCKS
    try:
        is_first = _turns.take(folder / f"{bucket:02x}.lock", reference)
    except OSError as exc:
        raise DataError(f"{folder}: no lock can be had there: {exc}") from exc
    try:
        value = _twice(call) if is_first else call()
    except BaseException:
        _turns.leave()
        raise
    if is_first:
        _turns.share()
    return value


def _twice(call: Callable[[], Value]) -> Value:
    try:
        return call()
    except DataError as exc:
        log.warning("%s; it is called once more", exc)
        return call()
