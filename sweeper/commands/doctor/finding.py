"""What a check finds, and what is done about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sweeper.errors import SweeperError
from sweeper.text import format_count


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        where: A trial, a file, a store.
        what: Is wrong there.
        advice: What ``--fix`` does about it (``puts it back``); if it can do nothing, why, or what
            the user can do.
        mend: Does it; None if that cannot be done here and now.
    """

    where: str
    what: str
    advice: str
    mend: Callable[[], None] | None = None

    def __str__(self) -> str:
        advice = f"--fix {self.advice}" if self.mend else self.advice
        return f"{self.where}: {self.what}; {advice}"


class Diagnosis:
    """Counts findings as they come, shows each, and has it mended if that is wanted.

    Args:
        fix: Whether it is.
        show: Takes a line for people.
    """

    def __init__(self, *, fix: bool, show: Callable[[str], None]) -> None:
        self.n_found = 0
        self.n_mendable = 0
        self.n_mended = 0
        self.fix = fix
        self._show = show

    def take(self, findings: Iterable[Finding]) -> None:
        """Treat each finding before the next is looked for, so that one mend may spare others."""
        for finding in findings:
            self.n_found += 1
            self.n_mendable += finding.mend is not None
            if self.fix and finding.mend is not None:
                self._mend(finding, finding.mend)
            else:
                self._show(str(finding))

    @property
    def is_well(self) -> bool:
        """Whether nothing is left that is not as it should be."""
        return self.n_found == (self.n_mended if self.fix else 0)

    def summary(self) -> str:
        """What came of it, in a few words; empty if nothing was found."""
        if self.n_found == 0:
            return ""
        found = format_count(self.n_found, "finding")
        if self.fix:
            return f"{found}, {self.n_mended} mended"
        return f"{found}; --fix mends {self.n_mendable}"

    def _mend(self, finding: Finding, mend: Callable[[], None]) -> None:
        try:
            mend()
        except (SweeperError, OSError) as exc:
            self._show(f"not mended: {finding.where}: {finding.what}: {exc}")
        else:
            self.n_mended += 1
            self._show(f"mended: {finding.where}: {finding.what}")
