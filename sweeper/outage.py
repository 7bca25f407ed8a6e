"""Trouble with disk and storage: said once, and borne for a while, as it may pass."""

import math
import time
from collections.abc import Callable

from sweeper.errors import StoreError, StudyError

#: So long it is borne, as a database may be restarting.
BEAR_S = 60.0
#: It is over after so long without any; a worker that meets it again has done so by then.
CALM_S = 5.0
#: So often it may come back before a trial gets to its end.
MOST_BOUTS = 10


class Outage:
    """Of one command with its study's folder and storage.

    Args:
        note: Told when trouble begins and when it is over.
        now: Seconds of a clock that never goes back.
    """

    def __init__(
        self, note: Callable[[str], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._note = note
        self._now = now
        self._begun_s = self._latest_s = math.inf
        self._n_bouts = self._n_finished = 0

    @property
    def is_tried(self) -> bool:
        """Whether there is trouble, of which the user has been told."""
        return self._begun_s < math.inf

    def bear(self, trouble: StoreError, *, n_finished: int) -> None:
        """Go on in spite of it, or raise it.

        Args:
            trouble: What this command or one of its workers met.
            n_finished: Trials of the study that are finished, as far as is known.

        Raises:
            StoreError: The trouble, when it has lasted too long.
            StudyError: If it passes, but comes back again and again and keeps every trial from
                its end.
        """
        self._latest_s = self._now()
        if not self.is_tried:
            self._begun_s = self._latest_s
            self._n_bouts = self._n_bouts + 1 if n_finished == self._n_finished else 1
            self._n_finished = n_finished
            if self._n_bouts > MOST_BOUTS:
                raise StudyError(f"{trouble}\nIt came back {MOST_BOUTS} times, and no trial ended")
            self._note(f"{trouble}\nTrying again for {BEAR_S:.0f} s ...")
        elif self._latest_s - self._begun_s > BEAR_S:
            raise trouble

    def look(self) -> None:
        """Notice that it is over; called while all is well."""
        if self._now() - self._latest_s > CALM_S:
            self.settle()

    def settle(self) -> None:
        """Say that it is over; called when all is done."""
        if self.is_tried:
            self._note("disk and storage work again")
            self._begun_s = math.inf
