"""Several trials in one thread: a batch of each in turn; where one ends, the next begins.

Those of a pack are given their batches in turn, which are then computed together.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, islice

from sweeper.study.conclude import advance, conclude
from sweeper.study.reports import TurnReports
from sweeper.study.running_trial import RunningTrial
from sweeper.timing import TimeLedger
from sweeper.training.packed.pack import Pack
from sweeper.training.packed.packs import Packs
from sweeper.trial import TrialState
from sweeper.workers.lane_count import LaneCount

#: So often a free lane looks for a trial, as others may put theirs back; at first more often, as
#: it may become known how much memory those at work take.
_LOOK_EVERY_S, _FIRST_LOOK_S = 1.0, 0.05


class Lane:
    """A claimed trial at work.

    Args:
        trial: That was claimed.
        steps: Its work, as :meth:`~sweeper.workers.runner.TrialRunner.steps` does it.
        place: Of the lane among those of its worker, from 0.
        is_alone: Whether the worker trains no other trial beside it.
        held: Given back when the trial has left the worker.

    Attributes:
        busy_s: Seconds that it has had the thread, or that were spent for it.
    """

    def __init__(
        self,
        trial: RunningTrial,
        steps: Iterator[None],
        *,
        place: int,
        is_alone: bool,
        held: ExitStack,
    ) -> None:
        self.trial = trial
        self.place = place
        self.is_alone = is_alone
        self.busy_s = trial.asking_s  # with others, before there was a lane
        self._steps = steps
        self._held = held

    def run(self) -> TrialState:
        """Do all of its work, and leave; the state that the trial is in then."""
        begun_s = time.monotonic()
        try:
            return conclude(self.trial, self._steps)
        finally:
            self.leave()
            self.busy_s += time.monotonic() - begun_s

    def advance(self) -> TrialState | None:
        """Do the next step; the state that the trial is in if that was the last one."""
        begun_s = time.monotonic()
        state = advance(self.trial, self._steps)
        self.busy_s += time.monotonic() - begun_s
        return state

    def leave(self) -> None:
        """Give back what it holds."""
        self._held.close()


class Lanes:
    """Drives the lanes of a worker.

    Args:
        count: How many lanes there are to be.
        ledger: The worker's own, whose time each trial has while it is at work.
        packs: Of the learners of lanes; None without packs.
        reports: Of the trials in lanes.
        open_lanes: Claims trials for free places, as many as there are now and are needed.
        end: Told of each trial that has left the worker, and how it stands.
        now: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        count: LaneCount,
        ledger: TimeLedger,
        *,
        packs: Packs | None,
        reports: TurnReports,
        open_lanes: Callable[[Sequence[int]], list[Lane]],
        end: Callable[[Lane, TrialState], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._ledger = ledger
        self._packs = packs
        self._reports = reports
        self._open_lanes = open_lanes
        self._end = end
        self._now = now
        self._lanes: list[Lane] = []
        self._due_s = 0.0
        self._wait_s = _FIRST_LOOK_S

    def run(self, first: Lane) -> None:
        """Train a trial and others beside it, until none is left.

        Raises:
            StoreError, TrialLost: As :func:`~sweeper.study.conclude.advance`, of one of them. The
                others are left as they are then, for the process to end.
        """
        self._lanes, self._due_s = [first], self._now()
        try:
            while self._lanes:
                self._fill()
                at_work = [lane.trial.number for lane in self._lanes]
                for lane in self._ready():
                    self._advance(lane)
                for lane in self._record():
                    self._advance(lane)
                for pack in self._packs.at_work if self._packs else ():
                    self._step(pack)
                self._look(at_work)
        finally:
            for lane in self._lanes:
                lane.leave()

    def _ready(self) -> list[Lane]:
        """Those that need not wait for the device, one at least: if need be, this waits for it."""
        if self._packs is None:
            return list(self._lanes)
        waiting = {name for pack in self._packs.busy for name in pack.names}
        ready = [lane for lane in self._lanes if lane.trial.number not in waiting]
        if not ready:
            with self._ledger.shared_by([lane.trial.ledger for lane in self._lanes]):
                self._packs.wait()
            return self._ready()
        return ready

    def _advance(self, lane: Lane) -> None:
        n_done = lane.trial.n_done
        with self._ledger.lent_to(lane.trial.ledger):
            state = lane.advance()
        self._count.add(lane.trial.number, max(0.0, lane.trial.n_done - n_done))
        if state is not None:
            self._lanes.remove(lane)
            lane.leave()
            self._end(lane, state)
            self._due_s = self._now()

    def _record(self) -> list[Lane]:
        """Write the epochs of this turn, before anything is decided by them; whose they are."""
        lanes = [lane for lane in self._lanes if lane.trial.number in self._reports.numbers]
        if lanes:
            with self._shared_by(lanes):
                self._reports.record()
        return lanes

    def _step(self, pack: Pack) -> None:
        """Do the batches that trials of a pack were given; the time is theirs in equal parts."""
        names = pack.names_at_work
        with self._shared_by([lane for lane in self._lanes if lane.trial.number in names]):
            pack.step()

    @contextmanager
    def _shared_by(self, lanes: Sequence[Lane]) -> Iterator[None]:
        """Book equal parts of the time in a ``with`` block for lanes."""
        begun_s = time.monotonic()
        with self._ledger.shared_by([lane.trial.ledger for lane in lanes]):
            yield
        for lane in lanes:
            lane.busy_s += (time.monotonic() - begun_s) / len(lanes)

    def _look(self, at_work: Sequence[int]) -> None:
        """Count what trials have done, and begin more as soon as there are to be more."""
        n = self._count.n
        self._count.look(at_work)
        if self._count.n > n:
            self._due_s = self._now()

    def _fill(self) -> None:
        """Claim trials for the free places, now and then."""
        if self._now() < self._due_s:
            return
        taken = {lane.place for lane in self._lanes}
        n_free = max(0, self._count.n - len(taken))
        free = list(islice((place for place in count() if place not in taken), n_free))
        opened = self._open_lanes(free) if free else []
        self._lanes += opened
        self._wait_s = _FIRST_LOOK_S if opened else min(_LOOK_EVERY_S, 2 * self._wait_s)
        self._due_s = self._now() + self._wait_s
