"""What must hold of ``run`` and ``budget``, and of where a study keeps what it has."""

from collections.abc import Iterator
from operator import attrgetter

from sweeper.config.problems import Fault, Problems
from sweeper.config.study import MOST_TRIALS, OWN_TRAINING, StudySpec, has_own_training
from sweeper.config.urls import is_one_database, object_store_fault, storage_fault, tracking_fault

#: The most that a key may be. Each worker is a process.
_MOST = {
    "budget.trials": MOST_TRIALS,
    "run.workers": 1_000,
    "run.workers_per_device": 1_000,
    "run.lanes": 1_000,
    "run.pack": 1_000,
}
_SQLITE_CLAIMS = "claims on SQLite are not atomic; use storage: auto, PostgreSQL, or "


def check_run(spec: StudySpec, problems: Problems) -> None:
    """Note what a run could not be started with, of values that are valid one by one."""
    rules = (
        _address_faults,
        _worker_faults,
        _gpu_faults,
        _precision_faults,
        _own_training_faults,
        _size_faults,
    )
    for rule in rules:
        problems.add_all(rule(spec), spec.origin)


def _address_faults(spec: StudySpec) -> Iterator[Fault]:
    if fault := storage_fault(spec.storage):
        yield "storage", fault
    place = spec.run.object_store
    if place is not None and (fault := object_store_fault(place)):
        yield "run.object_store", fault
    if fault := tracking_fault(spec.tracking.uri):
        yield "tracking.uri", fault
    elif is_one_database(spec.storage, spec.tracking.uri):
        yield (
            "tracking.uri",
            "is the database of storage as well, where MLflow and Optuna would each take the "
            "other's tables for its own of another version; give it a database of its own",
        )


def _worker_faults(spec: StudySpec) -> Iterator[Fault]:
    run, path = spec.run, "run.workers_per_device"
    if spec.is_on_sqlite and run.workers not in ("auto", 1):
        yield "run.workers", f"{_SQLITE_CLAIMS}workers: 1"
    if run.workers_per_device == 1:
        return
    if run.workers != "auto":
        yield path, f"run.workers sets all of them to {run.workers} already; drop one"
    elif run.device == "cpu":
        yield path, "is for GPUs, and run.device is cpu; set run.workers instead"
    elif spec.is_on_sqlite:
        yield path, f"{_SQLITE_CLAIMS}workers_per_device: 1"


def _gpu_faults(spec: StudySpec) -> Iterator[Fault]:
    run, n_gpus, path = spec.run, spec.run.gpus_per_trial, "run.gpus_per_trial"
    if n_gpus is None:
        return
    if run.device in ("cpu", "mps"):
        yield path, f"is for GPUs of CUDA, and run.device is {run.device}; drop one"
    elif run.device.startswith("cuda:") and n_gpus > 1:
        yield path, f"run.device: {run.device} is one GPU; set it to cuda, or this to 1"
    if n_gpus > 1 and not has_own_training(spec.sections["train"]):
        yield path, "built-in training computes on one device; set it to 1, or bring your own"
    if run.workers_per_device > 1:
        message = "run.gpus_per_trial gives each trial GPUs to itself; drop one"
        yield "run.workers_per_device", message


def _precision_faults(spec: StudySpec) -> Iterator[Fault]:
    device = spec.run.device
    if spec.run.precision == "tf32" and device in ("cpu", "mps"):
        message = f"tf32 is for NVIDIA GPUs, and run.device is {device}; use fp32 or bf16"
        yield "run.precision", message


def _own_training_faults(spec: StudySpec) -> Iterator[Fault]:
    """What a function or a program of the user's own does not look at."""
    own = next((key for key in OWN_TRAINING if key in spec.sections["train"]), None)
    if own is None:
        return
    if spec.run.precision != "fp32":
        yield "run.precision", f"train.{own} computes with numbers of its own choice; drop this"
    for key, value in (("lanes", spec.run.lanes), ("pack", spec.run.pack)):
        if isinstance(value, int) and value > 1:
            message = f"train.{own} has its worker to itself from begin to end; drop this"
            yield f"run.{key}", message


def _size_faults(spec: StudySpec) -> Iterator[Fault]:
    for path, most in _MOST.items():
        value = attrgetter(path)(spec)
        if isinstance(value, int) and value > most:
            yield path, f"must be at most {most:,}, got {value:,}"
