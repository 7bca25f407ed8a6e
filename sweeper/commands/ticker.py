"""How far long work is, said now and then."""

import time
from collections.abc import Callable

_INTERVAL_S = 5.0


class Ticker:
    """Says ``words: 200 of 1000 trials`` every few seconds, and nothing of what is done sooner.

    Args:
        words: What is being done.
        note: Where it is said.
        now: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        words: str,
        note: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._words = words
        self._note = note
        self._now = now
        self._said_s = now()

    def show(self, n_done: int, n_total: int) -> None:
        """Say it if it is time to."""
        if self._now() - self._said_s >= _INTERVAL_S:
            self._note(f"{self._words}: {n_done} of {n_total} trials")
            self._said_s = self._now()
