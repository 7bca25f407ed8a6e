"""What people and scripts see while a study runs."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from sweeper.commands.followed_trials import FollowedTrials, Tally, row_of
from sweeper.commands.next_steps import next_steps
from sweeper.commands.screen import Screen
from sweeper.study.best import best_so_far
from sweeper.study.result import Result
from sweeper.study.study import SweepStudy
from sweeper.study.time_left import N_TELLING, TrialLengths
from sweeper.study.trial_cache import Standing
from sweeper.tracking.completion import Completion

#: So often a :class:`Ticker` speaks.
_TICK_S = 5.0
#: While the time so far doubles, the estimate may become two times two as long, or as short: the
#: first trials to end are the short ones, so it must move, but not at one blow.
_CHANGE = 2
#: A few seconds.
_LOOKS = 20


class SteadyEstimate:
    """An estimate that people can look at: it moves to what is measured without a jump.

    Args:
        now: Seconds of a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._begun_s = now()
        self._shown: tuple[float, float] | None = None

    def show(self, measured_s: float | None) -> float | None:
        """The seconds that are left, for people.

        Args:
            measured_s: As measured now, >= 0; None if nobody knows.
        """
        if measured_s is None:
            return None
        now_s = self._now() - self._begun_s
        if self._shown is not None:
            shown_s, before_s = self._shown
            expected_s = max(before_s - (now_s - shown_s), 1.0)
            most = (max(now_s, 1.0) / max(shown_s, 1.0)) ** _CHANGE
            measured_s = min(max(measured_s, expected_s / most), expected_s * most)
        self._shown = now_s, measured_s
        return measured_s


class Progress:
    """What an agent is shown with: a screen, and what the trials' logs say of them.

    Args:
        screen: Of the command.
        study: What it works on; the logs of trials that have ended are not read.
        now: Seconds of a clock that never goes back.
    """

    def __init__(
        self, screen: Screen, study: SweepStudy, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._screen = screen
        self._study = study
        self._trials = FollowedTrials(study.paths, study.spec, study.cache.look())
        self._n_epochs: int | None = None
        self._estimate = SteadyEstimate(now)
        #: Between two trials a worker has none, so it is the most of the last looks.
        self._n_running: deque[int] = deque(maxlen=_LOOKS)

    def show(self, standing: Standing, epochs: Mapping[int, float]) -> None:
        """See :class:`~sweeper.workers.agent.Display`."""
        ended = self._trials.poll(standing, epochs)
        self._n_running.append(max(len(standing.running), 1))
        metrics = self._study.spec.objective.metrics
        now = Tally(
            standing.n_finished + self._trials.n_early,
            self._study.goal,
            len(standing.running) - self._trials.n_early,
            self._left_s(standing, epochs),
            [row_of(best) for best in best_so_far(self._study.cache.best(), metrics)],
        )
        n_finished = now.n_finished - sum(row.counts for row in ended)
        for row in ended:
            n_finished += row.counts
            self._screen.ended(row, replace(now, n_finished=n_finished))
        self._screen.show(self._trials, now)

    def _left_s(self, standing: Standing, epochs: Mapping[int, float]) -> float | None:
        self._n_epochs = self._n_epochs or self._study.pruner.n_epochs()
        ended = self._study.cache.latest(N_TELLING)
        lengths = TrialLengths(ended, self._n_epochs, epochs, datetime.now())
        return self._estimate.show(
            lengths.seconds_left(standing, goal=self._study.goal, n_workers=max(self._n_running))
        )

    def note(self, text: str) -> None:
        """See :class:`~sweeper.workers.agent.Display`."""
        self._screen.note(text)

    def summary(self, result: Result) -> None:
        """See :class:`~sweeper.workers.agent.Display`."""
        self._screen.summary(result)

    def next_steps(
        self, result: Result, completion: Completion | None, *, has_everything: bool
    ) -> None:
        """See :class:`~sweeper.workers.agent.Display`."""
        self._screen.next_steps(next_steps(result, completion, has_everything=has_everything))


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
        if self._now() - self._said_s >= _TICK_S:
            self._note(f"{self._words}: {n_done} of {n_total} trials")
            self._said_s = self._now()
