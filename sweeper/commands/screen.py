"""Where a command shows what happens: a terminal, a log file, a script, a notebook."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.text import Text

from sweeper.commands.best import format_best, format_best_pruned
from sweeper.commands.followed_trials import FollowedTrials, Tally, TrialRow
from sweeper.commands.live_table import LiveTable
from sweeper.commands.redrawn import Redrawn
from sweeper.study.result import Result
from sweeper.text import format_counts, format_seconds, format_values, redacted, write_out
from sweeper.timing import render_seconds
from sweeper.trial import Objective, TrialState

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

#: Of the table in a notebook, in signs.
_COLUMNS, _ROWS = 120, 30
#: Each drawing is sent to the browser.
_REDRAWN_EVERY_S = 1.0
_PRE = "<pre style='line-height: 1.2; white-space: pre'>{code}</pre>"


class Screen(Protocol):
    """Where a command shows what happens. ``close`` is called once, whatever happens."""

    def begin(self, lines: Sequence[str]) -> None:
        """What is about to be done."""

    def show(self, trials: FollowedTrials, tally: Tally) -> None:
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
    values = format_values({name: row.best.values[name] for name in objective.metrics}, 5)
    return f"{values}  (epoch {row.best.epoch} of {row.epoch})"


class _Lines:
    """One line for each finished trial: what a log file or a scheduler keeps."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def begin(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._print(line)

    def show(self, trials: FollowedTrials, tally: Tally) -> None:
        pass

    def ended(self, row: TrialRow, tally: Tally) -> None:
        seconds = format_seconds(row.seconds(time.time()))
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
        write_out(redacted(text))


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
        write_out(json.dumps(record))


class _Terminal(_Lines):
    """A table that is drawn in place, and at the end what a log file has there as well."""

    def __init__(self, objective: Objective, console: Console) -> None:
        super().__init__(objective)
        self._table = LiveTable(objective, console)
        self._redrawn = Redrawn(console)

    def begin(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._redrawn.say(Text(line))

    def show(self, trials: FollowedTrials, tally: Tally) -> None:
        self._redrawn.draw(self._table.render(trials, tally))

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


class Notebook(_Lines):
    """The same table in a notebook, drawn in place while the cell runs.

    Args:
        objective: Of the study.
        now: Seconds of a clock that never goes back.
    """

    def __init__(self, objective: Objective, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(objective)
        self._page = Console(
            file=StringIO(),
            record=True,
            width=_COLUMNS,
            height=_ROWS,
            color_system="truecolor",
            force_terminal=True,
            force_jupyter=False,
        )
        self._table = LiveTable(objective, self._page)
        self._now = now
        self._drawn_s: float | None = None
        self._place: DisplayHandle | None = None

    def show(self, trials: FollowedTrials, tally: Tally) -> None:
        """See :class:`Screen`."""
        now_s = self._now()
        if self._drawn_s is None or now_s - self._drawn_s >= _REDRAWN_EVERY_S:
            self._drawn_s = now_s
            self._page.print(self._table.render(trials, tally))
            self._draw(self._page.export_html(code_format=_PRE, inline_styles=True))

    def _draw(self, html: str) -> None:
        from IPython.display import HTML, display  # there is one where there is a notebook

        if self._place is None:
            self._place = display(HTML(html), display_id=True)
        else:
            self._place.update(HTML(html))

    def ended(self, row: TrialRow, tally: Tally) -> None:
        """See :class:`Screen`."""
        if row.state == TrialState.FAILED:
            self._print(f"trial {row.number} failed: {row.cause}")

    def note(self, text: str) -> None:
        """See :class:`Screen`."""
        self._print(text)  # what goes to standard error is shown as if it were an error

    def close(self) -> None:
        """See :class:`Screen`."""
        if self._place is not None:
            self._draw("")


def open_screen(objective: Objective, *, as_json: bool = False) -> Screen:
    """The screen that fits where standard output goes: a table only where it can be redrawn."""
    console = Console()
    if as_json:
        return _Json(objective)
    if console.is_jupyter:
        return Notebook(objective)
    return _Terminal(objective, console) if console.is_terminal else _Lines(objective)
