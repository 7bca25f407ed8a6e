"""The one judgement of how a trial ended, be its process alive to tell or not."""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sweeper.errors import (
    DISK_FULL,
    ProgramError,
    StoreError,
    TrialDiverged,
    TrialInterrupted,
    TrialLost,
    TrialPruned,
)
from sweeper.study.failures import RETRIES, count_failure, failure_kind, meaning
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.text import redacted
from sweeper.trial import EpochMetrics, FailureKind, Outcome, TrialState

#: Of a traceback; enough to see the user's own frames above the library's.
_DETAIL_LINES = 20


@dataclass(frozen=True)
class PutBack:
    """Not the end of a trial: it waits, and another process goes on with it.

    Attributes:
        cause: Why, in one line for people.
    """

    cause: str


@dataclass(frozen=True)
class Attempt:
    """What is known of a trial when a process that worked on it is done with it, or gone.

    Attributes:
        study: The study.
        number: Of the trial.
        history: Epochs that it reported so far, also in earlier processes.
        seconds: As in :class:`~sweeper.trial.Outcome`.
    """

    study: SweepStudy
    number: int
    history: Sequence[EpochMetrics]
    seconds: Mapping[str, float]

    def judge_failure(self, kind: FailureKind, cause: str, details: str) -> Outcome | None:
        """Count a failure and judge it by the rule of its kind.

        Args:
            kind: What kept the trial from its end.
            cause: That in one line.
            details: Of it, for people.

        Returns:
            How the trial ended; None if it is to be tried again.
        """
        storage, trial_id = self.study.storage, self.study.trial_id(self.number)
        failures = count_failure(storage, trial_id, kind, len(self.history))
        if failures <= RETRIES.get(kind, 0):
            return None
        times = "" if failures == 1 else f", {failures} times"
        failed = self.outcome(TrialState.FAILED, cause + times)
        return replace(failed, details=details, kind=kind, retries=failures - 1)

    def outcome(self, state: TrialState, cause: str = "") -> Outcome:
        """That it ended so; the epoch that counts is one of those that are finite."""
        objective = self.study.spec.objective
        best = objective.best([epoch for epoch in self.history if not objective.faults(epoch)])
        return Outcome(state, best, cause, seconds=self.seconds)


def conclude(trial: RunningTrial, steps: Iterator[None]) -> TrialState:
    """Do all of a trial's work, then settle how it ended; as :func:`advance`, without a pause."""
    while (state := advance(trial, steps)) is None:
        pass
    return state


def advance(trial: RunningTrial, steps: Iterator[None]) -> TrialState | None:
    """Do the next step of a trial's work; after the last one, settle how it ended.

    An exception ends the trial, never the process, be it of whatever class: workers ignore
    SIGINT, so ``KeyboardInterrupt`` is the user's own, too. Those that
    :func:`~sweeper.study.failures.meaning` knows are taken as what they mean. While the process is
    stopping, one that would end the trial comes of that, as far as anybody knows: it is put back.

    Returns:
        The state that it is in afterwards; None if more is to be done.

    Raises:
        StoreError: If disk or storage fail, which is not the trial's fault: it stays as it is.
        TrialLost: If the trial was taken over.
    """
    try:
        next(steps)
    except StopIteration:
        verdict: Outcome | PutBack = _judge_return(_attempt(trial))
    except BaseException as exc:
        verdict = _judge(exc, trial)
    else:
        return None
    return _settle(trial, verdict)


def _judge(error: BaseException, trial: RunningTrial) -> Outcome | PutBack:
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration):
        error = error.__cause__  # of the trial's own code, which a generator does not let through
    if isinstance(error, StoreError | TrialLost):
        raise error
    attempt = _attempt(trial)
    if isinstance(error, TrialInterrupted | TrialPruned | TrialDiverged):
        return _judge_signal(error, attempt)
    return _judge_word(error, attempt, is_stopping=trial.is_stopping())


def _settle(trial: RunningTrial, verdict: Outcome | PutBack) -> TrialState:
    if isinstance(verdict, PutBack):
        trial.put_back(verdict.cause)
        return TrialState.WAITING
    trial.end(verdict)
    return verdict.state


def _attempt(trial: RunningTrial) -> Attempt:
    return Attempt(trial.study, trial.number, trial.history, trial.take_seconds())


def _judge_signal(
    signal: TrialInterrupted | TrialPruned | TrialDiverged, attempt: Attempt
) -> Outcome | PutBack:
    if isinstance(signal, TrialInterrupted):
        return PutBack(str(signal))
    state = TrialState.PRUNED if isinstance(signal, TrialPruned) else TrialState.DIVERGED
    return attempt.outcome(state, str(signal))


def _judge_word(error: BaseException, attempt: Attempt, *, is_stopping: bool) -> Outcome | PutBack:
    match meaning(error):
        case TrialState.PRUNED | TrialState.DIVERGED as state:
            return attempt.outcome(state, _cause(error))
        case TrialState.COMPLETE if attempt.history and not is_stopping:
            return _judge_return(attempt)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        raise StoreError(f"trial {attempt.number}: {_cause(error)}; make room") from error
    if is_stopping:  # frameworks end by SystemExit when they are told to
        return PutBack(f"stopped, which its code ended by {_cause(error)}")
    return _judge_exception(error, attempt)


def _cause(error: BaseException) -> str:
    return redacted(f"{type(error).__name__}: {error}").splitlines()[0].rstrip(": ")


def _judge_exception(error: BaseException, attempt: Attempt) -> Outcome | PutBack:
    cause = _cause(error)
    trace = redacted(_trace(error))
    details = "\n".join(trace.splitlines()[-_DETAIL_LINES:])
    kind = failure_kind(error)
    alone = " with the device to itself" if kind == FailureKind.OUT_OF_MEMORY else ""
    failed = attempt.judge_failure(kind, cause, details)
    return failed or PutBack(f"{cause}; it is tried again{alone}")


def _trace(error: BaseException) -> str:
    """What shows where it came from: of a program, what it printed itself."""
    for each in (error, error.__cause__):
        if isinstance(each, ProgramError) and each.output:
            return each.output
    return "".join(traceback.format_exception(error))


def _judge_return(attempt: Attempt) -> Outcome:
    complete = attempt.outcome(TrialState.COMPLETE)
    if complete.best is None:  # user code held back the signal; Optuna needs a value
        return attempt.outcome(TrialState.DIVERGED, "no finite epoch was reported")
    return complete
