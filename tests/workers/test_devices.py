import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sweeper.errors import StudyError
from sweeper.workers.devices import (
    Placement,
    available_cores,
    keep_to_own_gpus,
    known_precisions,
    may_have_accelerator,
    place_workers,
)
from tests.support.sweep_studies import spec_of

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system cannot take cores from a process"
)
has_accelerator = torch.cuda.is_available() or torch.backends.mps.is_available()
CPU = {"device": "cpu"}


@pytest.fixture(autouse=True)
def _every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit that tests have is no rule of this machine."""
    monkeypatch.delenv("OMP_THREAD_LIMIT", raising=False)


@needs_affinity
def test_only_the_cores_that_a_scheduler_gave_count(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from sweeper.workers.devices import available_cores, place_workers\n"
        "from sweeper.config.reader import load_study\n"
        "spec = load_study(Path(sys.argv[1]))\n"
        "print(available_cores(), place_workers(spec), 'torch' in sys.modules)"
    )
    file = tmp_path / "small.yaml"
    file.write_text(
        "data: {name: digits}\nmodel: {architecture: mlp}\nrun: {device: cpu}\n"
        "train: {learning_rate: {low: 0.1, high: 1.0}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 [Placement(device='cpu', n_threads=1, n_sharing=1)] False\n"


@pytest.mark.parametrize(
    ("environment", "n_cores"),
    [
        ({"SLURM_CPUS_PER_TASK": "1", "SLURM_CPUS_ON_NODE": "2"}, 1),
        ({"SLURM_CPUS_ON_NODE": "1"}, 1),
        ({"SLURM_CPUS_PER_TASK": "4096"}, None),
    ],
)
@needs_affinity
def test_a_job_takes_no_more_cores_than_slurm_promised(
    environment: dict[str, str], n_cores: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the site does not bind it to them; and none that it has not."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert available_cores() == (n_cores or len(os.sched_getaffinity(0)))


def test_auto_is_a_worker_a_core(tmp_path: Path) -> None:
    n_cores = available_cores()
    spec = spec_of(tmp_path, run=CPU, budget={"trials": 1000})
    assert place_workers(spec) == [Placement("cpu", 1, n_cores)] * n_cores


@pytest.mark.parametrize("workers", [1, 2, 3, 500])
def test_the_cores_are_divided_among_the_workers(tmp_path: Path, workers: int) -> None:
    spec = spec_of(tmp_path, run={**CPU, "workers": workers}, budget={"trials": 1000})
    n_threads = max(1, available_cores() // workers)
    assert place_workers(spec) == [Placement("cpu", n_threads, workers)] * workers


@pytest.mark.parametrize(
    ("limit", "n_threads"), [("1", 1), ("3", 3), ("64", 4), ("0", 4), ("x", 4)]
)
def test_a_worker_has_no_more_threads_than_openmp_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, n_threads: int
) -> None:
    monkeypatch.setattr("sweeper.workers.devices.available_cores", lambda: 4)
    monkeypatch.setenv("OMP_THREAD_LIMIT", limit)
    assert place_workers(spec_of(tmp_path, run={**CPU, "workers": 1})) == [
        Placement("cpu", n_threads, 1)
    ]


def test_there_are_no_more_workers_than_trials(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, run={**CPU, "workers": 8}, budget={"trials": 1})
    assert place_workers(spec) == [Placement("cpu", available_cores(), 1)]


def test_there_are_no_more_workers_than_settings(tmp_path: Path) -> None:
    train = {"nesterov": {"choices": [True, False]}}
    spec = spec_of(tmp_path, run={**CPU, "workers": 8}, train=train)
    assert len(place_workers(spec)) == 2


def test_auto_is_one_worker_on_sqlite(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, run=CPU, storage="sqlite:///optuna.db")
    assert place_workers(spec) == [Placement("cpu", available_cores(), 1)]


@pytest.mark.skipif(has_accelerator, reason="this machine has an accelerator")
def test_workers_per_device_without_a_gpu_is_a_worker_a_core_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    n_cores = available_cores()
    spec = spec_of(tmp_path, run={"workers_per_device": 7}, budget={"trials": 1000})
    assert place_workers(spec) == [Placement("cpu", 1, n_cores)] * n_cores
    assert caplog.messages == [
        f"{tmp_path}/small.yaml:23: run.workers_per_device: 7 is for GPUs, and there is none "
        f"here: taking one worker a core, {n_cores}"
    ]


@pytest.mark.skipif(has_accelerator, reason="this machine has an accelerator")
def test_tf32_without_a_gpu_is_refused(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, run={"precision": "tf32"})
    with pytest.raises(StudyError) as caught:
        place_workers(spec)
    assert str(caught.value) == (
        f"{tmp_path}/small.yaml:23: run.precision: tf32 needs an NVIDIA GPU of compute capability "
        "8.0 (Ampere) or later, and trials would run on cpu; use fp32 or bf16"
    )


def test_a_cpu_knows_bf16_if_it_has_units_for_it() -> None:
    flags = Path("/proc/cpuinfo")
    if not flags.exists():
        pytest.skip("only Linux lists what a processor has")
    words = set(flags.read_text().split())
    has_units = bool(words & {"amx_bf16", "avx512_bf16", "bf16"})
    assert known_precisions("cpu") == (("fp32", "bf16") if has_units else ("fp32",))


@pytest.mark.skipif(has_accelerator, reason="this machine has an accelerator")
def test_a_device_that_is_not_there_is_told(tmp_path: Path) -> None:
    for device in ("cuda", "cuda:3", "mps"):
        spec = spec_of(tmp_path, run={"device": device})
        with pytest.raises(StudyError) as caught:
            place_workers(spec)
        assert str(caught.value) == (
            f"{tmp_path}/small.yaml:23: run.device: {device} is not there; torch "
            f"{torch.__version__} sees no accelerator; use `device: auto`"
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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_auto_is_a_worker_a_gpu_and_never_two_by_accident(tmp_path: Path) -> None:
    devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    spec = spec_of(tmp_path, budget={"trials": 1000})
    assert [place.device for place in place_workers(spec)] == devices
    asked = spec_of(tmp_path, run={"device": "cuda:0", "workers": 3})
    assert [place.device for place in place_workers(asked)] == ["cuda:0"] * 3
    shared = spec_of(tmp_path, run={"workers_per_device": 3}, budget={"trials": 1000})
    assert [place.device for place in place_workers(shared)] == devices * 3
    assert {place.n_sharing for place in place_workers(shared)} == {3}
