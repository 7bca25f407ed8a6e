import errno
from pathlib import Path

import pytest
import torch

from sweeper.errors import (
    DataError,
    ProgramError,
    TrainingError,
)
from sweeper.study.failures import (
    FAILURE_STREAK,
    RETRIES,
    count_failure,
    failed_numbers,
    failure_kind,
    find_streak,
    is_over,
    meaning,
)
from sweeper.study.study import SweepStudy
from sweeper.study.tell import put_back
from sweeper.trial import FailureKind, TrialState
from tests.support.sweep_studies import (
    begin,
    begin_in_memory,
    claim_trial,
    epoch,
    raises,
    reports,
    run_trial,
)

GOOD = reports(0.5, 0.5, 0.5)


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def program_error(output: str, *, is_killed: bool = False) -> ProgramError:
    return ProgramError("it ended", output, is_killed=is_killed)


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
        (program_error("ValueError: no"), FailureKind.EXCEPTION),
        (program_error("a b", is_killed=True), FailureKind.LOST_WORKER),
        (program_error("CUDA out of memory.\nDone"), FailureKind.OUT_OF_MEMORY),
        (program_error("  raise MemoryError\nMemoryError"), FailureKind.OUT_OF_MEMORY),
    ],
)
def test_failures_are_told_apart(error: BaseException, kind: FailureKind) -> None:
    assert failure_kind(error) == kind


def test_what_torch_raises_of_numbers_that_are_not_finite_means_divergence() -> None:
    weight = torch.zeros(1, requires_grad=True)
    with torch.autograd.detect_anomaly(), pytest.raises(RuntimeError) as anomaly:
        (weight.sqrt() * 0).sum().backward()
    weight.grad = torch.tensor([torch.nan])
    with pytest.raises(RuntimeError) as clipped:
        torch.nn.utils.clip_grad_norm_([weight], 1.0, error_if_nonfinite=True)
    assert meaning(anomaly.value) == meaning(clipped.value) == TrialState.DIVERGED


def test_other_errors_mean_a_failure() -> None:
    for error in (RuntimeError("nan"), ZeroDivisionError(), OverflowError("math range error")):
        assert meaning(error) is None


def test_what_torch_raises_without_memory_on_a_cpu_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert failure_kind(caught.value) == FailureKind.OUT_OF_MEMORY


def test_only_what_may_pass_is_tried_again() -> None:
    assert RETRIES == {FailureKind.LOST_WORKER: 3, FailureKind.OUT_OF_MEMORY: 1}


def fail_with(study: SweepStudy, *messages: str) -> None:
    for message in messages:
        run_trial(study, raises(RuntimeError(message)))


def test_ten_failures_in_a_row_of_one_cause_are_a_streak(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    run_trial(study, GOOD)
    fail_with(study, *[f"too slow: {n} MiB" for n in range(FAILURE_STREAK - 1)])
    assert find_streak(study.cache, ()) is None
    assert not is_over(study.cache, study.goal, ())
    fail_with(study, "too slow: 4096 MiB")
    assert is_over(study.cache, study.goal, ())
    assert not is_over(study.cache, study.goal, failed_numbers(study.records()))
    assert find_streak(study.cache, ()) == "RuntimeError: too slow: 4096 MiB"


def test_failures_of_mixed_causes_are_no_streak(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    fail_with(study, *["a"] * 9, "b")
    assert find_streak(study.cache, ()) is None


def test_a_trial_that_went_well_breaks_a_streak(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    fail_with(study, *["a"] * 9)
    run_trial(study, GOOD)
    fail_with(study, "a")
    assert find_streak(study.cache, ()) is None
    diverged = begin_in_memory(tmp_path / "diverged", budget={"trials": 12})
    for _ in range(FAILURE_STREAK):
        run_trial(diverged, lambda claim: claim.report(epoch(1, float("nan"))))
    assert find_streak(diverged.cache, ()) is None


def test_failures_of_an_earlier_run_are_forgiven(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    fail_with(study, *["a"] * FAILURE_STREAK)
    assert find_streak(study.cache, failed_numbers(study.records())) is None
    assert find_streak(study.cache, ()) == "RuntimeError: a"


@pytest.fixture
def study(tmp_path: Path) -> SweepStudy:
    return begin(tmp_path)


def test_a_claim_that_failed_is_counted_once_however_often_it_is_settled(
    study: SweepStudy,
) -> None:
    trial = claim_trial(study)
    assert trial is not None
    trial_id = study.trial_id(trial.number)
    for _ in range(5):
        assert count_failure(study.storage, trial_id, FailureKind.LOST_WORKER, 0) == 1
    put_back(study, 0)
    claim_trial(study)
    assert count_failure(study.storage, trial_id, FailureKind.LOST_WORKER, 0) == 2
