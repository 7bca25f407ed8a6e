"""Which processes of this machine live, as locks in a common folder tell."""

import os
from pathlib import Path

from sweeper.locks import FileLock


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
    if not lock.try_acquire(shared=True):  # so that two who look do not take each other for it
        return True
    path.unlink(missing_ok=True)
    lock.release()
    return False
