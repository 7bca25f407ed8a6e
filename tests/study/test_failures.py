import errno

import pytest
import torch

from sweeper.errors import DataError, TrainingError
from sweeper.study.failures import RETRIES, failure_kind
from sweeper.trial import FailureKind


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), FailureKind.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to"), FailureKind.OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), FailureKind.OUT_OF_MEMORY),
        (RuntimeError("std::bad_alloc"), FailureKind.OUT_OF_MEMORY),
        (raised_from(TrainingError("cannot build"), MemoryError()), FailureKind.OUT_OF_MEMORY),
        (DataError("no such rows"), FailureKind.DATA_ERROR),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), FailureKind.EXCEPTION),
        (OSError(errno.ENOENT, "No such file"), FailureKind.EXCEPTION),
        (SystemExit(3), FailureKind.EXCEPTION),
    ],
)
def test_failures_are_told_apart(error: BaseException, kind: FailureKind) -> None:
    assert failure_kind(error) == kind


def test_what_torch_raises_without_memory_on_a_cpu_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert failure_kind(caught.value) == FailureKind.OUT_OF_MEMORY


def test_only_what_may_pass_is_tried_again() -> None:
    assert RETRIES == {FailureKind.LOST_WORKER: 3, FailureKind.OUT_OF_MEMORY: 1}
