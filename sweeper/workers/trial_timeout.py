"""``budget.trial_timeout``: which workers have had their trial for too long."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from sweeper.study.attributes import Owner
from sweeper.study.trial_cache import Standing
from sweeper.text import format_seconds


class _Claim(NamedTuple):
    """A trial in the hands of one worker."""

    worker: str
    number: int
    claim: int


class TrialTimeout:
    """The time that the workers of one agent have had their trials.

    Args:
        timeout_s: Seconds that a trial may take from its claim on.
        now: Seconds of a clock that never goes back.

    Attributes:
        cause: Why a trial fails that takes longer.
    """

    def __init__(self, timeout_s: float, now: Callable[[], float]) -> None:
        self._timeout_s = timeout_s
        self._now = now
        self._since_s: dict[_Claim, float] = {}
        self.cause = (
            f"trial timeout: not at its end after {format_seconds(timeout_s)} "
            "(budget.trial_timeout)"
        )

    def overdue(self, standing: Standing, workers: Collection[str]) -> Sequence[tuple[str, int]]:
        """Names of workers whose trial has taken longer, and its number.

        Args:
            standing: Of the study; a trial counts from when it first shows in there.
            workers: Names of those that live.
        """
        now_s, before = self._now(), self._since_s
        owners = {trial.number: Owner.of(trial) for trial in standing.running}
        claims = (_Claim(owner.worker, n, owner.claim) for n, owner in owners.items())
        self._since_s = {
            claim: before.get(claim, now_s) for claim in claims if claim.worker in workers
        }
        return [
            (claim.worker, claim.number)
            for claim, since_s in self._since_s.items()
            if now_s - since_s > self._timeout_s
        ]
