import os
import sys
from pathlib import Path

import pytest

from sweeper.errors import StudyError
from sweeper.workers.gpus import (
    are_slices,
    keep_to_own_gpus,
    may_have_accelerator,
    seeing_only,
    visible_names,
)


@pytest.fixture
def four_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The device files of a node, and an environment that says nothing of them."""
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev").mkdir(exist_ok=True)
        (tmp_path / "dev" / name).touch()
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")  # so that what the code sets is taken back
        monkeypatch.delenv(name)
    return tmp_path / "dev"


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac always has an accelerator")
@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, True),
        ("0", True),
        ("2,3", True),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", True),
        ("", False),
        ("-1", False),
        ("-1,0", False),  # what stands behind a number that is none does not count
        ("NoDevFiles", False),
    ],
)
def test_gpus_that_are_hidden_are_not_there(
    four_gpus: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: bool
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert may_have_accelerator(four_gpus) is expected
    assert not may_have_accelerator(four_gpus / "nothing")


def test_of_a_node_that_hides_nothing_a_job_takes_its_own_gpus(
    four_gpus: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SLURM_JOB_GPUS", "1,3")
    keep_to_own_gpus(four_gpus)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert caplog.messages == [
        "Slurm gives this job GPU 1,3 of 4 and does not hide the others: using only its own, "
        "by CUDA_VISIBLE_DEVICES"
    ]


def test_a_step_takes_its_own_of_the_jobs(
    four_gpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_GPUS", "1,3")
    monkeypatch.setenv("SLURM_STEP_GPUS", "3")
    keep_to_own_gpus(four_gpus)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"SLURM_JOB_GPUS": ""},
        {"SLURM_JOB_GPUS": "1,3", "CUDA_VISIBLE_DEVICES": "0,1"},
        {"SLURM_JOB_GPUS": "1,3", "CUDA_VISIBLE_DEVICES": ""},
        {"SLURM_JOB_GPUS": "0,1,2,3"},
    ],
)
def test_what_hides_gpus_already_or_need_not_is_left_alone(
    four_gpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, str],
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    keep_to_own_gpus(four_gpus)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == settings.get("CUDA_VISIBLE_DEVICES")
    assert caplog.messages == []


def test_gpus_that_only_the_job_can_open_keep_torchs_numbers(
    four_gpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With ConstrainDevices torch sees the job's GPU as number 0, whatever Slurm calls it.
    for number in (0, 1, 2):
        (four_gpus / f"nvidia{number}").unlink()
    monkeypatch.setenv("SLURM_JOB_GPUS", "3")
    keep_to_own_gpus(four_gpus)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_gpus_that_slurm_names_otherwise_are_refused(
    four_gpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_STEP_GPUS", "gpu:1")
    with pytest.raises(StudyError) as caught:
        keep_to_own_gpus(four_gpus)
    assert str(caught.value) == (
        "$SLURM_STEP_GPUS: must be numbers of GPUs such as 0,1, got 'gpu:1'; set "
        "CUDA_VISIBLE_DEVICES to those of this job"
    )


@pytest.mark.parametrize(
    ("given", "n_seen", "names"),
    [
        (None, 3, ["0", "1", "2"]),
        (None, 0, []),
        ("2,3", 2, ["2", "3"]),
        ("2, 3 ,9", 2, ["2", "3"]),  # there is no 9, so the list ends before it
        ("GPU-8932f937,GPU-1a2b3c4d", 2, ["GPU-8932f937", "GPU-1a2b3c4d"]),
        ("MIG-aaaa,MIG-bbbb,MIG-GPU-cccc/1/0", 1, ["MIG-aaaa", "MIG-bbbb", "MIG-GPU-cccc/1/0"]),
        ("MIG-aaaa,MIG-bbbb", 0, []),  # no driver
    ],
)
def test_gpus_keep_the_names_that_the_job_was_given(
    monkeypatch: pytest.MonkeyPatch, given: str | None, n_seen: int, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given or "")
    if given is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_names(n_seen) == names
    assert are_slices() == (given or "").startswith("MIG")


@pytest.mark.parametrize("before", [None, "", "4,5"])
def test_what_is_shown_for_a_while_is_put_back(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before or "")
    if before is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with seeing_only("5"):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    with seeing_only(""):
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == before
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before
