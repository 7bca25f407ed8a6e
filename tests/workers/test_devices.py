import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.errors import StudyError
from sweeper.workers.devices import (
    Placement,
    available_cores,
    join_names,
    known_precisions,
    place_workers,
)
from tests.support.function_studies import function_spec
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
        "placed = [(place.device, place.n_threads) for place in place_workers(spec)]\n"
        "print(available_cores(), placed, 'torch' in sys.modules)"
    )
    file = tmp_path / "small.yaml"
    file.write_text(
        "data: {name: digits}\nmodel: {architecture: mlp}\nrun: {device: cpu}\n"
        "train: {learning_rate: {low: 0.1, high: 1.0}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 [('cpu', 1)] False\n"


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


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets torch see so many GPUs, of a job that names none."""

    def pretend(n_gpus: int) -> None:
        monkeypatch.setattr("sweeper.workers.devices.may_have_accelerator", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    return pretend


def place_own(folder: Path, **run: Any) -> list[tuple[str, tuple[str, ...], str]]:
    """Where the workers of a training function are: device, GPUs, CUDA_VISIBLE_DEVICES."""
    placed = place_workers(function_spec(folder, trials=1000, run=run))
    assert {place.n_sharing for place in placed} == {1}
    return [(place.device, place.gpus, place.visible) for place in placed]


def test_each_trial_has_its_own_gpus(tmp_path: Path, pretend: Callable[[int], None]) -> None:
    pretend(4)
    assert place_own(tmp_path, gpus_per_trial=2) == [
        ("cuda:0", ("cuda:0", "cuda:1"), "0,1"),
        ("cuda:0", ("cuda:2", "cuda:3"), "2,3"),
    ]
    assert place_own(tmp_path, gpus_per_trial=1, device="cuda:3") == [
        ("cuda:0", ("cuda:3",), "3"),
    ]


def test_a_program_sees_the_gpu_of_its_worker_alone(
    tmp_path: Path, pretend: Callable[[int], None]
) -> None:
    train = {"command": "python a.py --x ${train.x}", "x": {"low": 0.0, "high": 1.0}}
    spec = function_spec(tmp_path, trials=9, train=train, run={"workers": 3})
    pretend(2)
    seen = [(place.gpus, place.visible, place.n_sharing) for place in place_workers(spec)]
    assert seen == [(("cuda:0",), "0", 2), (("cuda:1",), "1", 1), (("cuda:0",), "0", 2)]
    pretend(0)
    assert {place.devices for place in place_workers(spec)} == {("cpu",)}


@pytest.mark.parametrize(
    "names", ["3,1", "GPU-8932f937,GPU-1a2b3c4d", "MIG-aaaa,MIG-bbbb"], ids=["ids", "uuids", "mig"]
)
def test_the_gpus_of_a_trial_are_among_those_of_the_job(
    tmp_path: Path,
    pretend: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    names: str,
) -> None:
    pretend(1 if names.startswith("MIG") else 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)
    first, second = names.split(",")
    assert place_own(tmp_path, gpus_per_trial=1) == [
        ("cuda:0", ("cuda:0",), first),
        ("cuda:0", ("cuda:1",), second),
    ]


def test_gpus_that_are_left_over_are_told(
    tmp_path: Path, pretend: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    pretend(5)
    place_own(tmp_path, gpus_per_trial=2)
    place_own(tmp_path, gpus_per_trial=5)
    place_own(tmp_path, gpus_per_trial=1, workers=1)
    place = f"{tmp_path}/small.yaml:18: run.gpus_per_trial"
    assert caplog.messages == [
        f"{place}: 2 workers with 2 GPUs each: 1 of 5 GPUs here are left over",
        f"{place}: 1 worker with 1 GPU each: 4 of 5 GPUs here are left over",
    ]


@pytest.mark.parametrize(
    ("n_gpus", "run", "expected"),
    [
        (4, {"workers": 3, "gpus_per_trial": 2},
         "18: run.workers: 3 workers with 2 GPUs each (run.gpus_per_trial) need 6, and there is "
         "room for 2 here; set workers: 2, or auto"),
        (3, {"gpus_per_trial": 4}, "18: run.gpus_per_trial: a trial is to have 4 GPUs, and here "
         "is cuda:0, cuda:1, cuda:2 alone; lower it, or go where there are more"),
        (0, {"gpus_per_trial": 1}, "18: run.gpus_per_trial: trials would run on cpu, as torch "
         "sees no GPU here that CUDA_VISIBLE_DEVICES could give them; drop this"),
    ],
)  # fmt: skip
def test_more_gpus_than_there_are_is_refused(
    tmp_path: Path,
    pretend: Callable[[int], None],
    n_gpus: int,
    run: dict[str, Any],
    expected: str,
) -> None:
    pretend(n_gpus)
    with pytest.raises(StudyError) as caught:
        place_own(tmp_path, **run)
    assert str(caught.value) == f"{tmp_path}/small.yaml:{expected}"


def test_several_slices_of_a_gpu_are_refused_as_cuda_shows_a_process_one(
    tmp_path: Path, pretend: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-aaaa,MIG-bbbb")
    with pytest.raises(StudyError, match="must be 1 where CUDA_VISIBLE_DEVICES names slices"):
        place_own(tmp_path, gpus_per_trial=2)


def test_the_devices_of_a_worker_are_told_in_one_word() -> None:
    assert join_names(["cpu"]) == "cpu"
    assert join_names(["cuda:0", "cuda:1", "cuda:3"]) == "cuda:0+1+3"
