"""What came of verifying trials, for people and for scripts."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.commands.best_table import aligned_lines
from sweeper.commands.verify.compare import MARGIN, STATED_TOLERANCE, Difference, Verdict
from sweeper.text import format_count

_TITLES = ("", "recorded", "alone", "again", "recorded-alone", "alone-again", "allowed", "")


@dataclass(frozen=True)
class TrialReport:
    """What came of one trial.

    Attributes:
        number: Of the trial.
        what: It is, for people: ``mlp, complete, 10 epochs``.
        verdict: In one word.
        meaning: The same in one sentence.
        differences: Of each metric, and of the weights where they could be compared.
        loose: Why the same numbers could not be asked for.
        remarks: How it was compared, and what could not be, a sentence each.
    """

    number: int
    what: str
    verdict: Verdict
    meaning: str
    differences: Sequence[Difference] = ()
    loose: Sequence[str] = ()
    remarks: Sequence[str] = field(default=())

    @property
    def is_verified(self) -> bool:
        """Whether it came to what was recorded."""
        return self.verdict in (Verdict.SAME, Verdict.WITHIN)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"trial {self.number}, {self.what}"
        if self.differences:
            rows = [_TITLES, *map(_cells, self.differences)]
            is_number = [False, *[True] * (len(_TITLES) - 2), False]
            yield from (f"  {line}" for line in aligned_lines(rows, is_number))
        if self.loose:
            yield (
                f"  allowed is the larger of {STATED_TOLERANCE} and {MARGIN} times what two runs "
                f"alone differ by, in any metric, as {'; '.join(self.loose)}"
            )
        yield from (f"  {remark}" for remark in self.remarks)
        yield f"  {self.verdict}: {self.meaning}"

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "trial": self.number,
            "verdict": self.verdict.value,
            "meaning": self.meaning,
            "differences": [_difference_json(each) for each in self.differences],
            "loose": list(self.loose),
            "remarks": list(self.remarks),
        }


def _cells(each: Difference) -> tuple[str, ...]:
    ends = ("" if value is None else _value(value) for value in each.ends)
    gaps = (f"{value:.2g}" for value in (each.recorded, each.alone, each.tolerance))
    parts = "" if each.parting is None else f"parts at epoch {each.parting.epoch}"
    return (each.name, *ends, *gaps, parts)


def _difference_json(each: Difference) -> dict[str, Any]:
    recorded, alone, again = (None if v is None else _finite(v) for v in each.ends)
    return {
        "name": each.name,
        "recorded": recorded,
        "alone": alone,
        "again": again,
        "recorded_alone": _finite(each.recorded),
        "alone_again": _finite(each.alone),
        "allowed": _finite(each.tolerance),
        "is_within": each.is_within,
        "parts_at": each.parting and each.parting.epoch,
    }


def _finite(value: float) -> float | None:
    """JSON has no other numbers."""
    return value if math.isfinite(value) else None


def explain(differences: Sequence[Difference], *, is_exact: bool) -> tuple[Verdict, str]:
    """What differences mean, in one word and in one sentence."""
    largest = max((each.recorded for each in differences), default=0.0)
    alone = max((each.alone for each in differences), default=0.0)
    apart = [each for each in differences if not each.is_within]
    if not apart and largest == 0:
        times = "" if alone else ", both times"
        return Verdict.SAME, f"alone it comes to the recorded numbers, bit for bit{times}"
    if not apart:
        return Verdict.WITHIN, (
            f"alone it comes as close to the record as is asked: {largest:.2g} at most, and two "
            f"runs alone differ by {alone:.2g}"
        )
    where = _where(apart)
    if is_exact and alone > 0:
        return Verdict.DIFFERS, (
            "two runs alone differ from each other, so something else than its settings, its seed "
            f"and the data decides what it comes to: {where}"
        )
    if alone == 0:
        return Verdict.DIFFERS, (
            "two runs alone agree, and the record is not what they come to, so it was changed, or "
            f"something else was at work when it was made: {where}"
        )
    return Verdict.DIFFERS, (
        f"the record is further from two runs alone than chance explains: {where}"
    )


def _where(apart: Sequence[Difference]) -> str:
    """Which of them part where, the earliest first."""
    parting = [(each.name, each.parting) for each in apart if each.parting]
    parting.sort(key=lambda found: found[1].epoch)
    curves = [
        f"{name} parts at epoch {at.epoch}, {_value(at.value)} to {_value(at.other)}"
        for name, at in parting
    ]
    return "; ".join([*curves, *(f"the {each.name} differ" for each in apart if not each.parting)])


def _value(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.6g}"


def summary(study: str, reports: Sequence[TrialReport]) -> str:
    """What all of it means, in one sentence."""
    verified = [report for report in reports if report.is_verified]
    if len(verified) == len(reports):
        same = all(report.verdict == Verdict.SAME for report in reports)
        what = "to the same numbers again" if same else "as close to the record as can be asked"
        return f"{study}: verified, {format_count(len(reports), 'trial')} came {what}"
    faults = ", ".join(
        f"trial {report.number} {_WORDS[report.verdict]}"
        for report in reports
        if not report.is_verified
    )
    counted = f"{len(verified)} of {format_count(len(reports), 'trial')}"
    return f"{study}: not verified, {counted} came to what was recorded again: {faults}"


_WORDS = {Verdict.DIFFERS: "differs", Verdict.UNVERIFIED: "could not be verified"}
