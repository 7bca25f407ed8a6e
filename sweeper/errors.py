"""Errors that users meet, the two signals that end a trial early, and the exit codes.

    SweeperError                  exit 1: a failure we know and can explain
    ├── SpecError                 exit 2: the study file or the command line
    ├── DataError                 a data set is absent, unreadable or of the wrong form
    ├── TrainingError             a model or training function cannot be built or run
    ├── StudyError                the Optuna study cannot be opened, or must not go on
    └── TrackerError              MLflow cannot be reached or refuses
        └── RequestRefusedError   it answers, but not to this request

    TrialPruned                   signal: the pruner said stop
    TrialDiverged                 signal: a metric is not finite
    TrialInterrupted              signal: stop now, the trial goes on later from its checkpoint

The signals derive from ``BaseException`` so that an ``except Exception`` in a user's training
function cannot swallow them.
"""

import re
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its scheduler."""

    GOAL_REACHED = 0
    FAILURE = 1
    USAGE = 2
    BUG = 3
    STOPPED = 4
    INTERRUPTED = 130


class SweeperError(Exception):
    """A failure that the user can understand from its message alone."""

    exit_code = ExitCode.FAILURE


class SpecError(SweeperError):
    """Problems of a study file, all of them, one a line, in file order."""

    exit_code = ExitCode.USAGE


class DataError(SweeperError):
    """A data set is absent, unreadable or of the wrong form."""


class TrainingError(SweeperError):
    """A model or a training function cannot be built or run."""


class StudyError(SweeperError):
    """The Optuna study cannot be opened, or must not go on."""


class TrackerError(SweeperError):
    """MLflow cannot be reached or refuses what it is sent."""


class RequestRefusedError(TrackerError):
    """MLflow answers, but not to this request: those of other trials may pass."""


class TrialPruned(BaseException):
    """Raised by ``report`` when the pruner wants the trial to end."""


class TrialDiverged(BaseException):
    """Raised by ``report`` when a metric is not finite."""


class TrialInterrupted(BaseException):
    """Raised by ``report`` when the process must stop; the trial stays resumable."""


def redacted(text: str) -> str:
    """A text as it may be shown or stored: without user names and passwords of URLs."""
    # Up to the last @: a password may hold an @ or a / of its own, escaped or not.
    text = re.sub(r"://[^\s'\"]*@", "://***@", text)
    return re.sub(r"(?i)\b(password|token|secret|sslpassword)=[^&\s'\"]+", r"\1=***", text)
