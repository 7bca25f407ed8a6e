"""The journal that Optuna keeps a study in: who appends to it, and lines that are torn."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweeper.errors import StudyError
from sweeper.locks import FileLock
from sweeper.paths import RunPaths


class Journal(JournalStorage):
    """Optuna's storage in a journal, which takes several writes at once.

    Args:
        paths: Of the study.
    """

    def __init__(self, paths: RunPaths) -> None:
        self._file = _JournalFile(paths)
        super().__init__(self._file)

    @contextmanager
    def together(self) -> Iterator[None]:
        """As :func:`~sweeper.study.storage.together.together`."""
        with self._file.gathering():
            yield
        self._read_to_the_end()

    def _read_to_the_end(self) -> None:
        """Read what was written too; of the writes that Optuna finds void, the first is raised."""
        void: UpdateFinishedTrialError | None = None
        while True:
            try:
                with self._thread_lock:
                    self._sync_with_backend()
            except UpdateFinishedTrialError as exc:  # it stops there, and goes on behind it
                void = void or exc
            else:
                break
        if void:
            raise void


class _JournalFile(JournalFileBackend):
    """The file, to which lines are appended at once, or all together if they are gathered."""

    def __init__(self, paths: RunPaths) -> None:
        super().__init__(str(paths.journal), lock_obj=JournalLock(paths))  # type: ignore[arg-type]
        self._gathered = threading.local()

    @contextmanager
    def gathering(self) -> Iterator[None]:
        logs: list[dict[str, Any]] = []
        self._gathered.logs = logs
        try:
            yield
        finally:
            del self._gathered.logs
        if logs:
            self.append_logs(logs)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Whole lines behind so many.

        Raises:
            StudyError: If one is damaged, which Optuna finds when another follows it.
        """
        n_read = log_number_from
        try:
            for log in super().read_logs(log_number_from):
                yield log
                n_read += 1
        except ValueError as exc:  # of JSON, or of UTF-8
            raise StudyError(
                f"{self._file_path}: line {n_read + 1} is damaged ({exc}), by another program or "
                "by the disk; bring the file back from a copy, or begin another study with "
                "`--name NEW`"
            ) from exc

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        gathered: list[dict[str, Any]] | None = getattr(self._gathered, "logs", None)
        if gathered is None:
            super().append_logs(logs)
        else:
            gathered.extend(logs)


class JournalLock:
    """Optuna takes it before each line that it appends to the journal.

    A full disk, or a process that died while writing, leaves a torn last line, and what is
    appended to that can never be read again. So whoever takes the lock cuts such a line off.
    """

    def __init__(self, paths: RunPaths) -> None:
        self._journal = paths.journal
        self._lock = FileLock(paths.journal_lock)

    def acquire(self) -> bool:
        """Wait for the lock, then see that the journal ends with a whole line."""
        self._lock.acquire()
        cut_torn_tail(self._journal)
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


def has_torn_tail(path: Path) -> bool:
    """Whether the file's last line was not written to its end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return False
        file.seek(size - 1)
        return file.read(1) != b"\n"


def cut_torn_tail(path: Path) -> None:
    """Cut off a last line that was not written to its end."""
    if has_torn_tail(path):
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
