"""What people and scripts see while a study runs."""

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from sweeper.commands.best import format_best, format_best_pruned
from sweeper.commands.live_table import LiveTable
from sweeper.commands.next_steps import next_steps
from sweeper.commands.redrawn import Redrawn
from sweeper.commands.trial_table import Tally, TrialRow, TrialTable, row_of
from sweeper.study.best import best_so_far
from sweeper.study.result import Result
from sweeper.study.study import SweepStudy
from sweeper.study.time_left import N_TELLING, TrialLengths
from sweeper.study.trial_cache import Standing
from sweeper.text import format_counts, format_seconds, redacted
from sweeper.timing import render_seconds
from sweeper.tracking.completion import Completion
from sweeper.trial import Objective, TrialState

#: So often a :class:`Ticker` speaks.
_TICK_S = 5.0
#: While the time so far doubles, the estimate may become two times two as long, or as short: the
#: first trials to end are the short ones, so it must move, but not at one blow.
_CHANGE = 2
#: A few seconds.
_LOOKS = 20


class Screen(Protocol):
    """Where a command shows what happens. ``close`` is called once, whatever happens."""

    def begin(self, lines: Sequence[str]) -> None:
        """What is about to be done."""

    def show(self, table: TrialTable, tally: Tally) -> None:
        """Called a few times a second."""

    def ended(self, row: TrialRow, tally: Tally) -> None:
        """A trial ended."""

    def note(self, text: str) -> None:
        """Something that people should know."""

    def summary(self, result: Result) -> None:
        """What the study has come to."""

    def next_steps(self, lines: Sequence[str]) -> None:
        """How to go on; the command is about to end."""

    def close(self) -> None:
        """Give the terminal back."""


def _describe(row: TrialRow, objective: Objective) -> str:
    if row.best is None:
        return row.cause or "nothing reported"
    values = ", ".join(f"{name} {row.best.values[name]:.5g}" for name in objective.metrics)
    return f"{values}  (epoch {row.best.epoch} of {row.epoch})"


class _Lines:
    """One line for each finished trial: what a log file or a scheduler keeps."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def begin(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._print(line)

    def show(self, table: TrialTable, tally: Tally) -> None:
        pass

    def ended(self, row: TrialRow, tally: Tally) -> None:
        seconds = format_seconds((row.ended_s or 0) - row.begun_s)
        is_over = tally.n_finished >= tally.goal
        left = f", {format_seconds(tally.left_s)} left" if tally.left_s and not is_over else ""
        self._print(
            f"[{tally.n_finished}/{tally.goal}{left}] trial {row.number} {row.state.value} "
            f"in {seconds}: {_describe(row, self._objective)}"
            + (f"; {row.cause}" if row.cause and row.best else "")
        )

    def note(self, text: str) -> None:
        print(redacted(text), file=sys.stderr, flush=True)

    def summary(self, result: Result) -> None:
        self._print(
            f"{result.name}: {result.n_finished} of {result.goal} trials: "
            f"{format_counts(dict(sorted(result.counts.items())))}"
        )
        if result.n_finished and not result.front:
            self._print("no trial is complete, so there is no best one")
        for best in result.front:
            self._print("best " + "\n".join(format_best(best)))
        if pruned := format_best_pruned(result):
            self._print("pruned " + "\n".join(pruned))
        if result.seconds:
            self._print(f"time: {render_seconds(result.seconds)}")

    def next_steps(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._print(line)

    def close(self) -> None:
        pass

    def _print(self, text: str) -> None:
        print(redacted(text), flush=True)


class _Json(_Lines):
    """One JSON object a line on standard output: each finished trial, then the whole study."""

    def begin(self, lines: Sequence[str]) -> None:
        pass

    def ended(self, row: TrialRow, tally: Tally) -> None:
        values = dict(row.best.values) if row.best else {}
        self._emit(
            trial=row.number,
            state=row.state.value,
            epochs=row.epoch,
            best_epoch=row.best.epoch if row.best else None,
            values=values,
            cause=row.cause,
            finished=tally.n_finished,
            goal=tally.goal,
        )

    def summary(self, result: Result) -> None:
        self._emit(**result.to_json())

    def next_steps(self, lines: Sequence[str]) -> None:
        pass

    def _emit(self, **record: Any) -> None:
        print(json.dumps(record), flush=True)


class _Terminal(_Lines):
    """A table that is drawn in place, and at the end what a log file has there as well."""

    def __init__(self, objective: Objective, console: Console) -> None:
        super().__init__(objective)
        self._table = LiveTable(objective, console)
        self._redrawn = Redrawn(console)

    def begin(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._redrawn.say(Text(line))

    def show(self, table: TrialTable, tally: Tally) -> None:
        self._redrawn.draw(self._table.render(table, tally))

    def ended(self, row: TrialRow, tally: Tally) -> None:
        if row.state == TrialState.FAILED:
            self._redrawn.say(
                Text(f"trial {row.number} failed: {redacted(row.cause)}", style="bold red")
            )

    def note(self, text: str) -> None:
        self._redrawn.say(Text(redacted(text), style="yellow"))

    def summary(self, result: Result) -> None:
        self.close()
        super().summary(result)

    def close(self) -> None:
        self._redrawn.close()


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
        self._table = TrialTable(study.paths, study.spec, study.cache.look())
        self._n_epochs: int | None = None
        self._estimate = SteadyEstimate(now)
        #: Between two trials a worker has none, so it is the most of the last looks.
        self._n_running: deque[int] = deque(maxlen=_LOOKS)

    def show(self, standing: Standing, epochs: Mapping[int, float]) -> None:
        """See :class:`~sweeper.workers.agent.Display`."""
        ended = self._table.poll(standing, epochs)
        self._n_running.append(max(len(standing.running), 1))
        metrics = self._study.spec.objective.metrics
        now = Tally(
            standing.n_finished + self._table.n_early,
            self._study.goal,
            len(standing.running) - self._table.n_early,
            self._left_s(standing, epochs),
            [row_of(best) for best in best_so_far(self._study.cache.best(), metrics)],
        )
        n_finished = now.n_finished - sum(row.counts for row in ended)
        for row in ended:
            n_finished += row.counts
            self._screen.ended(row, replace(now, n_finished=n_finished))
        self._screen.show(self._table, now)

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


def open_screen(objective: Objective, *, as_json: bool = False) -> Screen:
    """The screen that fits where standard output goes: a live table only in a terminal."""
    console = Console()
    if as_json:
        return _Json(objective)
    return _Terminal(objective, console) if console.is_terminal else _Lines(objective)


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
