"""What people and scripts see while a study runs."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeper.commands.best import format_best, format_best_pruned
from sweeper.commands.next_steps import next_steps
from sweeper.commands.trial_table import MOST_STOPPED, TrialRow, TrialTable
from sweeper.study.result import Result
from sweeper.study.study import SweepStudy
from sweeper.study.trial_cache import Standing
from sweeper.text import format_counts, format_seconds, redacted
from sweeper.timing import render_seconds
from sweeper.tracking.completion import Completion
from sweeper.trial import Objective, TrialState

#: Lines beside those of running trials: stopped ones, title, how many more run, bar, prompt.
_OTHER_LINES = MOST_STOPPED + 4
#: So often a :class:`Ticker` speaks.
_TICK_S = 5.0
_STYLES = {
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.DIVERGED: "magenta",
    TrialState.FAILED: "bold red",
    TrialState.WAITING: "dim",
}


@dataclass(frozen=True)
class Tally:
    """How far the study is.

    Attributes:
        n_finished: Trials that count towards the goal.
        goal: Trials to reach.
        eta_s: Seconds until the goal at the pace so far; None before the first trial ended.
    """

    n_finished: int
    goal: int
    eta_s: float | None


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
        eta = f", {format_seconds(tally.eta_s)} left" if tally.eta_s else ""
        self._print(
            f"[{tally.n_finished}/{tally.goal}{eta}] trial {row.number} {row.state.value} "
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


class _LiveTable:
    """A table of what runs and what ended last, above a bar with the time that is left."""

    def __init__(self, objective: Objective, console: Console) -> None:
        self._objective = objective
        self._console = console
        self._lines = _Lines(objective)
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def begin(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._console.print(Text(line))

    def show(self, table: TrialTable, tally: Tally) -> None:
        self._live.update(Group(self._render(table), self._bar(tally)))

    def ended(self, row: TrialRow, tally: Tally) -> None:
        if row.state == TrialState.FAILED:
            self._console.print(
                Text(f"trial {row.number} failed: {redacted(row.cause)}", style="bold red")
            )

    def note(self, text: str) -> None:
        self._console.print(Text(redacted(text), style="yellow"))

    def summary(self, result: Result) -> None:
        self.close()
        self._lines.summary(result)

    def next_steps(self, lines: Sequence[str]) -> None:
        self._lines.next_steps(lines)

    def close(self) -> None:
        self._live.stop()

    def _render(self, trials: TrialTable) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("trial", justify="right")
        for title in ("state", "model", "epoch"):
            table.add_column(title)
        table.add_column(f"best {', '.join(self._objective.metrics)}", justify="right")
        table.add_column("seconds", justify="right")
        running = trials.running()  # also on other machines, so more than fit on a screen
        n_shown = max(self._console.height - _OTHER_LINES, 1)
        for row in [*trials.stopped()[-MOST_STOPPED:], *running[:n_shown]]:
            table.add_row(*self._cells(row), style=_STYLES[row.state])
        if n_more := len(running[n_shown:]):
            table.add_row("", f"and {n_more} more", style=_STYLES[TrialState.RUNNING])
        return table

    def _cells(self, row: TrialRow) -> list[str]:
        best = row.best.values if row.best else {}
        values = ", ".join(f"{best[name]:.5g}" for name in self._objective.metrics if name in best)
        end_s = row.ended_s if row.ended_s is not None else time.time()
        epoch = f"{row.epoch}/{row.n_epochs}" if row.n_epochs else str(row.epoch)
        return [
            str(row.number),
            row.state.value,
            row.architecture,
            epoch,
            values,
            f"{end_s - row.begun_s:.1f}",
        ]

    def _bar(self, tally: Tally) -> RenderableType:
        eta = f"{format_seconds(tally.eta_s)} left" if tally.eta_s is not None else "..."
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_row(
            ProgressBar(total=tally.goal, completed=tally.n_finished, width=40),
            f"{tally.n_finished}/{tally.goal} trials",
            eta,
        )
        return line


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
        standing = study.cache.look()
        self._screen = screen
        self._goal = study.goal
        self._table = TrialTable(study.paths, study.spec.objective, standing)
        self._now = now
        self._begun_s = now()
        self._n_before = standing.n_finished

    def show(self, standing: Standing) -> None:
        """See :class:`~sweeper.workers.agent.Display`."""
        tally = Tally(standing.n_finished, self._goal, self._eta_s(standing.n_finished))
        for row in self._table.poll(standing):
            self._screen.ended(row, tally)
        self._screen.show(self._table, tally)

    def _eta_s(self, n_finished: int) -> float | None:
        n_done = n_finished - self._n_before
        if n_done == 0:
            return None
        return (self._now() - self._begun_s) / n_done * (self._goal - n_finished)

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
    return _LiveTable(objective, console) if console.is_terminal else _Lines(objective)


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
