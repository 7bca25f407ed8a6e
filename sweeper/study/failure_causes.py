"""Of what the failed trials of a study failed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from sweeper.study.attributes import Attr
from sweeper.trial import FailureKind


@dataclass(frozen=True)
class Failure:
    """A cause of failed trials.

    Attributes:
        kind: What the cause stands for, a :class:`~sweeper.trial.FailureKind`.
        n_trials: That failed of it.
        n_retries: How often they were tried again before.
        details: Last lines of the latest one's traceback or log.
    """

    cause: str
    kind: str
    n_trials: int
    n_retries: int
    details: str

    def to_json(self) -> dict[str, Any]:
        """For scripts, without the details."""
        return {
            "cause": self.cause,
            "kind": self.kind,
            "trials": self.n_trials,
            "retries": self.n_retries,
        }


def list_causes(failed: Iterable[FrozenTrial], details_of: Callable[[int], str]) -> list[Failure]:
    """The causes, the most frequent first.

    Args:
        failed: Trials that failed, by number.
        details_of: Number of one -> last lines of its traceback or log.
    """
    groups: dict[str, list[FrozenTrial]] = {}
    for trial in failed:
        groups.setdefault(str(trial.user_attrs.get(Attr.CAUSE, "unknown")), []).append(trial)
    causes = [
        Failure(
            cause,
            _kind(found[-1]),
            len(found),
            sum(map(_n_retries, found)),
            details_of(found[-1].number),
        )
        for cause, found in groups.items()
    ]
    return sorted(causes, key=lambda failure: -failure.n_trials)


def _kind(failed: FrozenTrial) -> str:
    return str(failed.user_attrs.get(Attr.FAILURE, FailureKind.EXCEPTION))


def _n_retries(failed: FrozenTrial) -> int:
    n_failures, *_ = failed.user_attrs.get(Attr.RETRIES, {}).get(_kind(failed), (1,))
    return int(n_failures) - 1
