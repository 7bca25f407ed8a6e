"""The table of ``gpu_check.py``, which grows while figures come in."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from results import render_facts, render_table

TITLE = "Many trials on one GPU"
HEAD = ("", "now", "2bacb41", "ratio", "goal", "")
_WIDTHS = (64, 26, 26, 9, 9, 8)


@dataclass(frozen=True)
class Figure:
    """What one measurement found.

    Attributes:
        value: Steps a second, or seconds; None if there is none.
        status: Why there is none.
        note: Beside the value.
        remark: Below the table.
        raw: All that was measured.
    """

    value: float | None = None
    status: str = ""
    note: str = ""
    remark: str = ""
    raw: Any = None


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: Is measured.
        now: Name of the figure of this version.
        before: Of that of 2bacb41; empty if there is none to be compared.
        goal: The ratio to be reached; None if it is none.
        unit: ``steps/s`` of a rate, of which more is better; ``s`` of a time; or a word.
    """

    what: str
    now: str
    before: str = ""
    goal: float | None = None
    unit: Literal["steps/s", "s", "tests"] = "s"

    def cells(self, figures: Mapping[str, Figure]) -> list[str] | None:
        """As ``HEAD`` has them; None while figures are lacking."""
        names = [name for name in (self.now, self.before) if name]
        if not all(name in figures for name in names):
            return None
        shown = [self._cell(figures[name]) for name in names]
        ratio = self.ratio(figures)
        reached = self.is_reached(figures)
        return [
            self.what,
            *shown,
            *[""] * (2 - len(shown)),
            "" if ratio is None else f"{ratio:.1f} x",
            "" if self.goal is None else f">= {self.goal:g} x",
            "" if ratio is None else "reached" if reached else "missed",
        ]

    def _cell(self, figure: Figure) -> str:
        if figure.value is None:
            return figure.status
        if self.unit == "tests":
            return figure.note
        number = f"{figure.value:,.0f}" if self.unit == "steps/s" else f"{figure.value:.2f}"
        return f"{number} {self.unit}{figure.note}"

    def ratio(self, figures: Mapping[str, Figure]) -> float | None:
        """How many times as fast as before; None if one of the two is not known."""
        now, before = (figures.get(name, Figure()).value for name in (self.now, self.before))
        if not now or not before:
            return None
        return now / before if self.unit == "steps/s" else before / now

    def is_reached(self, figures: Mapping[str, Figure]) -> bool:
        """Whether the goal is; of a line without one, whether its figure is there."""
        ratio = self.ratio(figures)
        if self.goal is None:
            return self.now in figures and figures[self.now].value is not None
        return ratio is not None and ratio >= self.goal


@dataclass
class Table:
    """Lines whose figures come one by one; all is written anew with each.

    Attributes:
        out: Folder of ``table.txt``, ``table.md`` and ``figures.json``.
        facts: What stands above the lines, by name.
        rows: All that there will be.
        figures: By name, what is known.
    """

    out: Path
    facts: Mapping[str, str]
    rows: Sequence[Row]
    figures: dict[str, Figure] = field(default_factory=dict)
    _n_printed: int = 0

    def begin(self) -> None:
        """Print what stands above the lines."""
        print("\n".join(self._above()), flush=True)
        self._write()

    def add(self, found: Mapping[str, Figure]) -> None:
        """Take figures, and print the lines that they make whole, in their order."""
        self.figures |= found
        lines = list(self._lines())
        for line in lines[self._n_printed :]:
            print(line, flush=True)
        self._n_printed = len(lines)
        self._write()

    def end(self) -> None:
        """Print what stands below."""
        print("\n".join(["", *self._remarks()]), flush=True)

    @property
    def is_reached(self) -> bool:
        """Whether all is there and as it should be."""
        return all(row.is_reached(self.figures) for row in self.rows)

    def _above(self) -> list[str]:
        facts = [f"{name}: {value}" for name, value in self.facts.items()]
        return [TITLE, "", *facts, "", _aligned(HEAD)]

    def _cells(self) -> Iterator[list[str]]:
        """Of the lines that are whole, up to the first that is not."""
        for row in self.rows:
            cells = row.cells(self.figures)
            if cells is None:
                return
            yield cells

    def _lines(self) -> Iterator[str]:
        return map(_aligned, self._cells())

    def _remarks(self) -> list[str]:
        return [
            f"{name}: {figure.remark}" for name, figure in self.figures.items() if figure.remark
        ]

    def _write(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        text = [*self._above(), *self._lines(), "", *self._remarks()]
        _replace(self.out / "table.txt", "\n".join(text) + "\n")
        page = [f"## {TITLE}", render_table(HEAD, self._cells())]
        page += ["\n".join(f"- {remark}" for remark in self._remarks())]
        page += [render_facts(self.facts)]
        _replace(self.out / "table.md", "\n\n".join(part for part in page if part) + "\n")
        found = {name: asdict(figure) for name, figure in self.figures.items()}
        raw = {"facts": self.facts, "rows": [asdict(row) for row in self.rows], "figures": found}
        _replace(self.out / "figures.json", json.dumps(raw, indent=1) + "\n")


def _aligned(cells: Sequence[str]) -> str:
    pairs = zip(cells, _WIDTHS, strict=True)
    return "".join(f"{cell:<{width}}" for cell, width in pairs).rstrip()


def _replace(path: Path, text: str) -> None:
    """Write it so that whoever looks meanwhile, or afterwards, finds a whole one."""
    aside = path.with_suffix(".new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
