"""Errors that users meet, the signals that end a trial early, and the exit codes.

    SweeperError                  exit 1: a failure we know and can explain
    ├── SpecError                 exit 2: the study file or the command line
    ├── DataError                 a data set is absent, unreadable or of the wrong form
    ├── TrainingError             a model or training function cannot be built or run
    │   └── ProgramError          a program of the user's own has failed
    ├── StudyError                the Optuna study cannot be opened, or must not go on
    │   ├── StoreError            the disk or the storage fails; what it held before is intact
    │   │   └── DamagedPushError  a file in the object store is not what was pushed there
    │   └── EventLogError         a trial's event log is damaged
    ├── TrackerError              MLflow cannot be reached or refuses
    │   └── RequestRefusedError   it answers, but not to this request
    └── LauncherError             a scheduler cannot be reached or refuses a job
        └── UncertainJobError     nobody knows whether it took the job

    TrialPruned                   signal: the pruner said stop
    TrialDiverged                 signal: a metric is not finite
    TrialInterrupted              signal: stop now, the trial goes on later from its checkpoint
    TrialLost                     signal: another process holds the trial, write nothing more
    CommandStopped                signal: whoever started the command asks it to end, exit 4

The signals derive from ``BaseException`` so that an ``except Exception`` in a user's training
function cannot swallow them.
"""

import errno
from enum import IntEnum

#: Errors of a system call on a disk, or of a quota, that has no room left.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
#: Where nothing may be written.
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


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


class ProgramError(TrainingError):
    """A program of the user's own ended otherwise than with exit code 0.

    Args:
        message: How, in one line.
        output: Its last lines.
        is_killed: Whether a signal ended it.
    """

    def __init__(self, message: str, output: str, *, is_killed: bool) -> None:
        super().__init__(message)
        self.output = output
        self.is_killed = is_killed


class StudyError(SweeperError):
    """The Optuna study cannot be opened, or must not go on."""


class StoreError(StudyError):
    """The disk or the storage fails; what it held before is intact."""


class DamagedPushError(StoreError):
    """A file in the object store is not what was pushed there."""


class EventLogError(StudyError):
    """A trial's event log is damaged, by whatever: a crash cannot do it."""


class TrackerError(SweeperError):
    """MLflow cannot be reached or refuses what it is sent."""


class LauncherError(SweeperError):
    """A scheduler cannot be reached, or refuses a job."""


class UncertainJobError(LauncherError):
    """A scheduler may have taken a job, and may not have: its answer got lost."""


class RequestRefusedError(TrackerError):
    """MLflow answers, but not to this request: those of other trials may pass."""


class TrialPruned(BaseException):
    """Raised by ``report`` when the pruner wants the trial to end."""


class TrialDiverged(BaseException):
    """Raised by ``report`` when a metric is not finite."""


class TrialInterrupted(BaseException):
    """Raised when the process must stop; the trial stays resumable."""


class TrialLost(BaseException):
    """Raised by ``report`` when the trial was taken over, as its process seemed dead."""


class CommandStopped(BaseException):
    """Raised wherever the process is when it is told to end, and nothing must drain."""
