"""Locks that the kernel gives back when their holder dies, however it dies."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol


class Lock(Protocol):
    """What lets one process at a time do something."""

    def held(self) -> AbstractContextManager[None]:
        """Hold the lock within a ``with`` block. A process that holds it must not ask again."""

    def tried(self) -> AbstractContextManager[bool]:
        """As :meth:`held`, without waiting: whether it is held in the block."""


class FileLock:
    """A ``flock`` on a file beside what it guards, among the processes that see the file.

    Optuna's own journal locks are files whose mere existence counts, so a killed holder blocks
    the others until a grace period of 30 s is over; this one is free at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """Wait for the lock."""
        self._take(fcntl.LOCK_EX)

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Take the lock if nobody holds it; if ``shared``, unless somebody has it alone."""
        try:
            self._take((fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def share(self) -> None:
        """Let others share what this one has alone; also the copies that forks of it have."""
        assert self._fd is not None
        with suppress(BlockingIOError):  # another took it in between, and has it alone now
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def release(self) -> None:
        """Give the lock back."""
        assert self._fd is not None
        fd, self._fd = self._fd, None  # first, as another thread may take it once it is closed
        os.close(fd)

    def drop(self) -> None:
        """Close a forked child's copy of the lock; its parent goes on to hold it, or not."""
        if self._fd is not None:
            self.release()

    def _take(self, operation: int) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, operation)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock within a ``with`` block."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    @contextmanager
    def tried(self) -> Iterator[bool]:
        """Hold the lock within a ``with`` block if nobody else does; whether it is held."""
        is_held = self.try_acquire()
        try:
            yield is_held
        finally:
            if is_held:
                self.release()


def locality(folder: Path) -> str:
    """Names where ``flock`` tells who lives: this folder under this running kernel.

    Two processes with the same locality see each other's locks. A copy of the folder, another
    machine or the same one after a reboot has another locality.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        kernel = socket.gethostname()  # where there is no /proc: then a reboot goes unnoticed
    status = folder.stat()
    return f"{kernel}:{status.st_dev}:{status.st_ino}"
