"""Locks among all processes that share a study's storage, on whatever machine."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from sweeper.config.study import StudySpec
from sweeper.locks import FileLock, Lock
from sweeper.study.storage.backend import store_errors


def open_locks(spec: StudySpec) -> Callable[[Path], Lock]:
    """Locks among all processes that share the study's storage, on whatever machine.

    Returns:
        From a file to its lock. Where the storage has locks of its own, the file's name tells
        them apart, and there need be no file.
    """
    locks = _locks_by_name(spec)
    if locks is None:
        return FileLock
    return lambda file: locks(f"{file.parent.name}/{file.name} of {spec.name}")


def _locks_by_name(spec: StudySpec) -> Callable[[str], Lock] | None:
    """The storage's own locks, if it has some."""
    if spec.is_proxied:
        from sweeper.study.storage.grpc_client import ProxyLock, open_channel

        return partial(ProxyLock, open_channel(spec.storage))
    if spec.storage.startswith("postgresql"):
        # It imports SQLAlchemy, a fifth of a second.
        from sweeper.study.storage.advisory_locks import advisory_locks

        return advisory_locks(spec.storage)
    return None


@contextmanager
def founding(spec: StudySpec) -> Iterator[None]:
    """Be the one that begins the study's run in MLflow, among all machines on its storage.

    MLflow itself makes two if two ask at once. On one machine the mirror's own lock is enough.

    Raises:
        StoreError: If the storage is out of reach.
    """
    with ExitStack() as held:
        if locks := _locks_by_name(spec):
            with store_errors():
                held.enter_context(locks(f"run in MLflow of {spec.name}").held())
        yield
        with store_errors():
            held.close()
