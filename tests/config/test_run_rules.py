"""Every message about values of ``run`` and ``budget`` that do not fit together."""

import pytest

from tests.support.spec_files import BASE, assert_refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run: {workers: 4, workers_per_device: 2}", "3: run.workers_per_device: run.workers sets "
         "all of them to 4 already; drop one"),
        ("run: {device: cpu, workers_per_device: 2, precision: tf32}",
         "3: run.workers_per_device: is for GPUs, and run.device is cpu; set run.workers instead\n"
         "3: run.precision: tf32 is for NVIDIA GPUs, and run.device is cpu; use fp32 or bf16"),
        ("run: {workers_per_device: 2}\nstorage: sqlite:///a.db", "3: run.workers_per_device: "
         "claims on SQLite are not atomic; use storage: auto, PostgreSQL, or "
         "workers_per_device: 1"),
        ("run: {device: cpu, gpus_per_trial: 2}",
         "3: run.gpus_per_trial: is for GPUs of CUDA, and run.device is cpu; drop one\n"
         "3: run.gpus_per_trial: built-in training computes on one device; set it to 1, or bring "
         "your own"),
        ("train: {function: 'a:b'}\nrun: {device: 'cuda:1', gpus_per_trial: 2}",
         "4: run.gpus_per_trial: run.device: cuda:1 is one GPU; set it to cuda, or this to 1"),
        ("run: {gpus_per_trial: 1, workers_per_device: 2}", "3: run.workers_per_device: "
         "run.gpus_per_trial gives each trial GPUs to itself; drop one"),
        ("train: {function: 'a:b'}\nrun: {precision: bf16}", "4: run.precision: train.function "
         "computes with numbers of its own choice; drop this"),
        ("train: {function: 'a:b'}\nrun: {lanes: 2}", "4: run.lanes: train.function has its "
         "worker to itself from begin to end; drop this"),
        ("train: {function: 'a:b'}\nrun: {pack: 2}", "4: run.pack: train.function has its "
         "worker to itself from begin to end; drop this"),
        ("train: {command: 'a ${train.x}', x: 1}\nrun: {lanes: 2}", "4: run.lanes: train.command "
         "has its worker to itself from begin to end; drop this"),
        ("budget: {trials: 99999999}\nrun: {workers: 5000}",
         "3: budget.trials: must be at most 1,000,000, got 99,999,999\n"
         "4: run.workers: must be at most 1,000, got 5,000"),
    ],
)  # fmt: skip
def test_what_a_run_could_not_be_started_with(text: str, expected: str) -> None:
    assert_refused(BASE + text, expected)
