"""Failures told apart, the rule by which a trial is tried again after each, causes and streaks."""

import errno
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from optuna.exceptions import TrialPruned as OptunaPruned
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.config.settings import Scalar
from sweeper.durable import Step, durable
from sweeper.errors import DataError, ProgramError
from sweeper.events import Ended, read_events
from sweeper.paths import RunPaths
from sweeper.study.attributes import Attr, Owner, TrialRecord
from sweeper.study.trial_cache import TrialCache
from sweeper.trial import FailureKind, TrialState

#: How often a trial is tried again. A lost worker may be the machine's doing, unless the trial
#: loses one after the other without getting an epoch further; a trial that ran out of memory may
#: fit when it has the device to itself; the rest would end the same way.
RETRIES = {FailureKind.LOST_WORKER: 3, FailureKind.OUT_OF_MEMORY: 1}

#: So many failures in a row with one cause end a run: the next trial would fail as well.
FAILURE_STREAK = 10
#: So many in a row of whatever causes end it too.
LONGEST_STREAK = 30

#: How torch and C++ word it where the exception's type does not tell.
_NO_MEMORY = re.compile(
    r"can't allocate memory|out of memory|std::bad_alloc|_STATUS_ALLOC_FAILED|"
    r"Cannot allocate memory|\bMemoryError\b|OutOfMemoryError"
)

#: torch's words of clip_grad_norm_ with error_if_nonfinite, and of detect_anomaly.
_NOT_FINITE = re.compile(
    r"is non-finite, so it cannot be clipped|Function '\w+' returned nan values in its"
)


def meaning(error: BaseException) -> TrialState | None:
    """What an exception of Python, torch or Optuna says of the trial that it ends.

    Returns:
        PRUNED, DIVERGED or COMPLETE; None if it is a failure.
    """
    if isinstance(error, OptunaPruned):
        return TrialState.PRUNED
    if isinstance(error, FloatingPointError) or (
        isinstance(error, RuntimeError) and _NOT_FINITE.search(str(error))
    ):
        return TrialState.DIVERGED
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return TrialState.COMPLETE
    return None


def failure_kind(error: BaseException) -> FailureKind:
    """What an exception that ended a trial stands for."""
    if _is_out_of_memory(error):
        return FailureKind.OUT_OF_MEMORY
    if isinstance(error, ProgramError) and error.is_killed:
        return FailureKind.LOST_WORKER  # as a worker that is killed with its trial
    if isinstance(error, DataError):
        return FailureKind.DATA_ERROR
    return FailureKind.EXCEPTION


def _is_out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True  # the latter is torch's, which is not imported for it
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)):
            return True
        if isinstance(error, ProgramError) and _NO_MEMORY.search(f"{error}\n{error.output}"):
            return True
        error = error.__cause__
    return False


def count_failure(storage: BaseStorage, trial_id: int, kind: FailureKind, n_epochs: int) -> int:
    """Count a failure of a trial; how many of its kind there were, this one included.

    Lost workers count since the trial last got an epoch further, for then it is not the reason.
    A claim counts once, should the disk not take what comes next and all be done again.

    Args:
        storage: Of the study.
        trial_id: The storage's own id of the trial.
        kind: What kept it from its end.
        n_epochs: That it has reported.
    """
    now = storage.get_trial(trial_id)
    counts, claim = dict(now.user_attrs.get(Attr.RETRIES, {})), Owner.of(now).claim
    before, at_epoch, at_claim = counts.get(kind, (0, 0, 0))
    if at_claim == claim:
        return int(before)
    is_further = kind == FailureKind.LOST_WORKER and at_epoch != n_epochs
    failures = 1 if is_further else int(before) + 1
    with durable(Step.ATTRIBUTE):
        counts[kind] = failures, n_epochs, claim
        storage.set_trial_user_attr(trial_id, Attr.RETRIES, counts)
    return failures


def failed_numbers(trials: Iterable[TrialRecord]) -> list[int]:
    """Numbers of those that failed."""
    return [trial.number for trial in trials if trial.state is TrialState.FAILED]


@dataclass(frozen=True)
class FailedTrial:
    """A trial that failed.

    Attributes:
        number: Of the trial.
        params: What was searched, by dotted name.
        cause: Why, in one line.
    """

    number: int
    params: Mapping[str, Scalar]
    cause: str


def latest_failed(trials: Sequence[FrozenTrial]) -> FailedTrial | None:
    """The one with the highest number; None if none failed."""
    for trial in reversed(trials):
        if trial.state == OptunaState.FAIL:
            return FailedTrial(trial.number, trial.params, _cause(trial))
    return None


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


def list_causes(failed: Iterable[FrozenTrial], paths: RunPaths) -> list[Failure]:
    """The causes, the most frequent first.

    Args:
        failed: Trials that failed, by number.
        paths: Files of their study.
    """
    groups: dict[str, list[FrozenTrial]] = {}
    for trial in failed:
        groups.setdefault(_cause(trial), []).append(trial)
    causes = [
        Failure(
            cause,
            _kind(found[-1]),
            len(found),
            sum(map(_n_retries, found)),
            _details(paths, found[-1].number),
        )
        for cause, found in groups.items()
    ]
    return sorted(causes, key=lambda failure: -failure.n_trials)


def _kind(failed: FrozenTrial) -> str:
    return str(failed.user_attrs.get(Attr.FAILURE, FailureKind.EXCEPTION))


def _n_retries(failed: FrozenTrial) -> int:
    n_failures, *_ = failed.user_attrs.get(Attr.RETRIES, {}).get(_kind(failed), (1,))
    return int(n_failures) - 1


def _details(paths: RunPaths, number: int) -> str:
    """Of a failure, as the event log has them; empty if another machine has the log."""
    events, _ = read_events(paths.events(number))
    ends = (event.outcome for event in reversed(events) if isinstance(event, Ended))
    return next((outcome.details for outcome in ends), "")


def _cause(failed: FrozenTrial) -> str:
    return str(failed.user_attrs.get(Attr.CAUSE, "unknown"))


def is_over(cache: TrialCache, goal: int, earlier: Collection[int]) -> bool:
    """Whether the goal is reached, or :func:`find_streak` keeps from going on."""
    return cache.look().n_finished >= goal or _streak(cache, earlier) is not None


def find_streak(cache: TrialCache, earlier: Collection[int]) -> str | None:
    """The latest cause of too many failures in a row, if so many; not counting earlier ones.

    Args:
        cache: The trials of the study.
        earlier: Numbers of trials that failed in former commands.
    """
    cache.look()
    return _streak(cache, earlier)


def _streak(cache: TrialCache, earlier: Collection[int]) -> str | None:
    failed = takewhile(
        lambda trial: trial.state == OptunaState.FAIL and trial.number not in earlier,
        cache.latest(LONGEST_STREAK),
    )
    causes = list(map(_cause, failed))
    alike = {re.sub(r"\d+", "#", cause) for cause in causes[:FAILURE_STREAK]}
    is_streak = len(causes) >= FAILURE_STREAK and len(alike) == 1
    return causes[0] if is_streak or len(causes) >= LONGEST_STREAK else None
