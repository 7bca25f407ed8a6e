"""Trouble that may pass: said once, borne for a while, and said again when it is over."""

import math
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sweeper.errors import StudyError, SweeperError

#: So long a command bears trouble with disk and storage, as a database may be restarting.
BEAR_S = 60.0
#: That is over after so long without any; a worker that meets it again has done so by then.
CALM_S = 5.0
#: So often it may come back before a trial gets to its end.
MOST_BOUTS = 10


@contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Have sockets that say nothing for so long fail, of libraries that know no end of waiting."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


class Outage:
    """Of one thing that work needs, and can do without for a while.

    Args:
        note: Told when trouble begins, and when it is over.
        meanwhile: Said below the trouble: what becomes of the work.
        over: Said when it is over; empty for nothing.
        bear_s: Seconds after which it is raised.
        calm_s: Seconds without trouble after which :meth:`look` takes it to be over.
        most_bouts: So often it may come back before a trial gets to its end.
        now: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        note: Callable[[str], None],
        *,
        meanwhile: str,
        over: str = "",
        bear_s: float = math.inf,
        calm_s: float = 0.0,
        most_bouts: float = math.inf,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._note = note
        self._meanwhile = meanwhile
        self._over = over
        self._bear_s = bear_s
        self._calm_s = calm_s
        self._most_bouts = most_bouts
        self._now = now
        self._begun_s = self._latest_s = math.inf
        self._n_bouts = self._n_finished = 0

    @property
    def is_on(self) -> bool:
        """Whether there is trouble, of which the user has been told."""
        return self._begun_s < math.inf

    def bear(self, trouble: SweeperError, *, n_finished: int = 0) -> None:
        """Go on in spite of it, or raise it.

        Args:
            trouble: What was met.
            n_finished: Trials of the study that are finished, as far as is known.

        Raises:
            SweeperError: The trouble, when it has lasted too long.
            StudyError: If it passes, but comes back again and again and keeps every trial from
                its end.
        """
        self._latest_s = self._now()
        if not self.is_on:
            self._begun_s = self._latest_s
            self._n_bouts = self._n_bouts + 1 if n_finished == self._n_finished else 1
            self._n_finished = n_finished
            if self._n_bouts > self._most_bouts:
                raise StudyError(
                    f"{trouble}\nIt came back {self._most_bouts} times, and no trial ended"
                )
            self._note(f"{trouble}\n{self._meanwhile}")
        elif self._latest_s - self._begun_s > self._bear_s:
            raise trouble

    def look(self) -> None:
        """Notice that it is over; called while all is well."""
        if self._now() - self._latest_s > self._calm_s:
            self.end()

    def end(self) -> None:
        """Say that it is over, if there was any; called when what it kept from was done."""
        if self.is_on:
            self._begun_s = math.inf
            if self._over:
                self._note(self._over)


def storage_outage(
    note: Callable[[str], None], now: Callable[[], float] = time.monotonic
) -> Outage:
    """Of one command with its study's folder and storage."""
    return Outage(
        note,
        meanwhile=f"Trying again for {BEAR_S:.0f} s ...",
        over="disk and storage work again",
        bear_s=BEAR_S,
        calm_s=CALM_S,
        most_bouts=MOST_BOUTS,
        now=now,
    )
