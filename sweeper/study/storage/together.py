"""Several writes to a storage in one visit, which costs what one of them would cost alone."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

from optuna.storages import BaseStorage


@runtime_checkable
class Grouping(Protocol):
    """A storage that can do so."""

    def together(self) -> AbstractContextManager[None]:
        """As the function of that name."""


@contextmanager
def together(storage: BaseStorage) -> Iterator[None]:
    """Have what this thread writes within a ``with`` block reach the storage at its end, in order.

    Until then others, and in a journal this process too, read what was there before. Should the
    process die, all of it is written, or none, or in a journal the first so many. If the block
    raises, none is. Behind a proxy, each write goes there at once.

    Args:
        storage: Of a study.

    Raises:
        UpdateFinishedTrialError: If a trial that is written to has ended meanwhile. In a journal
            the other writes stand.
    """
    if isinstance(storage, Grouping):
        with storage.together():
            yield
    else:
        yield
