"""The table that a terminal shows while a study runs."""

import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeper.commands.followed_trials import MOST_STOPPED, FollowedTrials, Tally, TrialRow
from sweeper.commands.param_columns import ParamColumn
from sweeper.text import format_seconds
from sweeper.trial import Objective, TrialState

#: Lines beside those of trials: how many more run, the bar, the prompt.
_OTHER_LINES = 3
_GAP = 2
_BAR_CHARS = 40
#: Stays free behind the last line, for the ^C that a terminal shows: in a line of its own it would
#: push the table up by one that nobody knows of.
_ECHO_CHARS = 4
_STYLES = {
    TrialState.RUNNING: "cyan",
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.DIVERGED: "magenta",
    TrialState.FAILED: "bold red",
    TrialState.WAITING: "dim",
}


class LiveTable:
    """What runs, what ended last and the best so far, above a bar with the time that is left.

    Args:
        objective: Of the study.
        console: Says how much there is room for.
    """

    def __init__(self, objective: Objective, console: Console) -> None:
        self._objective = objective
        self._console = console

    def render(self, trials: FollowedTrials, tally: Tally) -> RenderableType:
        """As it is now."""
        return Group(self._table(trials, tally), self._bar(tally))

    def _table(self, trials: FollowedTrials, tally: Tally) -> Table:
        running, stopped = trials.running(), trials.stopped()
        columns = self._fitting(trials.columns, [*tally.best, *running, *stopped])
        n_header = max(len(_title(name).split("\n")) for name in self._titles(columns))
        room = self._console.height - n_header - len(tally.best) - _OTHER_LINES
        n_running = max(min(len(running), room), 1)
        n_stopped = max(min(MOST_STOPPED, room - n_running), 0)
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
        for name in self._titles(columns):
            is_word = name in ("state", *(column.title for column in columns))
            table.add_column(_title(name), justify="left" if is_word else "right", no_wrap=True)
        for row in tally.best:
            table.add_row(*self._cells(row, columns, state="best"), style="bold green")
        for row in [*stopped[len(stopped) - n_stopped :], *running[:n_running]]:
            table.add_row(*self._cells(row, columns), style=_STYLES[row.state])
        if n_more := len(running[n_running:]):  # also on other machines, so they may be many
            table.add_row("", f"and {n_more} more", style=_STYLES[TrialState.RUNNING])
        return table

    def _titles(self, columns: Sequence[ParamColumn]) -> list[str]:
        named = [column.title for column in columns]
        return ["trial", "state", *named, "epoch", *self._objective.metrics, "time"]

    def _fitting(
        self, columns: Sequence[ParamColumn], rows: Sequence[TrialRow]
    ) -> list[ParamColumn]:
        """As many as fit beside the others, the first ones first."""
        table = [list(map(_title, self._titles([]))), *(self._cells(row, []) for row in rows)]
        left = self._console.width - sum(_width(cells) for cells in zip(*table, strict=True))
        chosen: list[ParamColumn] = []
        for column in columns:
            left -= _width([_title(column.title), *(column.cell(row.params) for row in rows)])
            if left < 0:
                break
            chosen.append(column)
        return chosen

    def _cells(self, row: TrialRow, columns: Sequence[ParamColumn], state: str = "") -> list[str]:
        values = row.best.values if row.best else {}
        done = f"{row.progress:.1f}" if row.progress % 1 else str(row.epoch)
        if row.state is TrialState.COMPLETE and not row.epoch:
            done = ""  # unknown, see BestSoFar
        return [
            str(row.number),
            state or row.state.value,
            *(column.cell(row.params) for column in columns),
            f"{done}/{row.n_epochs}" if row.n_epochs else done,
            *(f"{values[name]:.5g}" if name in values else "" for name in self._objective.metrics),
            format_seconds(row.seconds(time.time())),
        ]

    def _bar(self, tally: Tally) -> RenderableType:
        words = f"{tally.n_finished}/{tally.goal} trials, {tally.n_running} running"
        if tally.left_s is not None:
            words += f", about {format_seconds(tally.left_s)} left"
        free = self._console.width - _ECHO_CHARS
        width = min(_BAR_CHARS, free - len(words) - _GAP)
        if width < 1:
            return Text(words[:free])
        line = Table.grid(padding=(0, _GAP, 0, 0))
        bar = ProgressBar(total=tally.goal, completed=tally.n_finished, width=width)
        line.add_row(bar, words)
        return line


def _title(name: str) -> str:
    """A name of several words is as narrow as its longest one."""
    return name.replace("_", "\n")


def _width(cells: Sequence[str]) -> int:
    return max(len(line) for cell in cells for line in cell.split("\n")) + _GAP
