"""Failures told apart, and the rule by which a trial is tried again after each."""

import errno
import re

from sweeper.errors import DataError
from sweeper.trial import FailureKind

#: How often a trial is tried again. A lost worker may be the machine's doing, unless the trial
#: loses one after the other without getting an epoch further; a trial that ran out of memory may
#: fit when it has the device to itself; the rest would end the same way.
RETRIES = {FailureKind.LOST_WORKER: 3, FailureKind.OUT_OF_MEMORY: 1}

#: How torch and C++ word it where the exception's type does not tell.
_NO_MEMORY = re.compile(
    r"can't allocate memory|out of memory|std::bad_alloc|_STATUS_ALLOC_FAILED|"
    r"Cannot allocate memory"
)


def failure_kind(error: BaseException) -> FailureKind:
    """What an exception that ended a trial stands for."""
    if _is_out_of_memory(error):
        return FailureKind.OUT_OF_MEMORY
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
        error = error.__cause__
    return False
