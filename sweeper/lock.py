"""Locks that the kernel gives back when their holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FileLock:
    """An exclusive ``flock`` on a file beside what it guards, among processes of one machine.

    Optuna's own journal locks are files whose mere existence counts, so a killed holder blocks
    the others until a grace period of 30 s is over; this one is free at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        return self._take(fcntl.LOCK_EX)

    def try_acquire(self) -> bool:
        """Take the lock if nobody holds it."""
        try:
            return self._take(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False

    def release(self) -> None:
        """Give the lock back."""
        assert self._fd is not None
        fd, self._fd = self._fd, None  # first, as another thread may take it once it is closed
        os.close(fd)

    def drop(self) -> None:
        """Close a forked child's copy of the lock; its parent goes on to hold it, or not."""
        if self._fd is not None:
            self.release()

    def _take(self, operation: int) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, operation)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock within a ``with`` block."""
        self.acquire()
        try:
            yield
        finally:
            self.release()


class Presence:
    """Proof that this process lives: a lock on a file of its own until the process ends.

    Unlike a process id it cannot be mistaken for a later process. A forked child, such as a
    ``DataLoader``'s, does not keep up the presence of its dead parent.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._path = folder / name
        self._lock = FileLock(self._path)
        if not self._lock.try_acquire():
            raise RuntimeError(f"{self._path} is locked: two processes share one name")
        os.register_at_fork(after_in_child=self._lock.drop)

    def leave(self) -> None:
        """Stop being present."""
        self._path.unlink(missing_ok=True)
        self._lock.release()


def is_present(folder: Path, name: str) -> bool:
    """Whether the process with that name lives on this machine; clears up after a dead one."""
    path = folder / name
    if not path.exists():
        return False
    lock = FileLock(path)
    if not lock.try_acquire():
        return True
    path.unlink(missing_ok=True)
    lock.release()
    return False
