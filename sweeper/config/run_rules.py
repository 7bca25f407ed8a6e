"""What must hold of ``run`` and ``budget``, and of where a study keeps what it has."""

from operator import attrgetter

from sweeper.config.problems import Problems
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
    _RunRules(spec, problems).check()


class _RunRules:
    def __init__(self, spec: StudySpec, problems: Problems) -> None:
        self._spec = spec
        self._run = spec.run
        self._problems = problems

    def check(self) -> None:
        self._check_addresses()
        self._check_workers()
        if self._run.gpus_per_trial is not None:
            self._check_gpus_per_trial(self._run.gpus_per_trial)
        self._check_precision()
        self._check_own_training()
        self._check_sizes()

    def _add(self, path: str, message: str) -> None:
        self._problems.add(self._spec.origin(path), path, message)

    def _check_addresses(self) -> None:
        if fault := storage_fault(self._spec.storage):
            self._add("storage", fault)
        place = self._run.object_store
        if place is not None and (fault := object_store_fault(place)):
            self._add("run.object_store", fault)
        if fault := tracking_fault(self._spec.tracking.uri):
            self._add("tracking.uri", fault)
        elif is_one_database(self._spec.storage, self._spec.tracking.uri):
            message = (
                "is the database of storage as well, where MLflow and Optuna would each take the "
                "other's tables for its own of another version; give it a database of its own"
            )
            self._add("tracking.uri", message)

    def _check_workers(self) -> None:
        run = self._run
        if self._spec.is_on_sqlite and run.workers not in ("auto", 1):
            self._add("run.workers", f"{_SQLITE_CLAIMS}workers: 1")
        if run.workers_per_device == 1:
            return
        path = "run.workers_per_device"
        if run.workers != "auto":
            self._add(path, f"run.workers sets all of them to {run.workers} already; drop one")
        elif run.device == "cpu":
            self._add(path, "is for GPUs, and run.device is cpu; set run.workers instead")
        elif self._spec.is_on_sqlite:
            self._add(path, f"{_SQLITE_CLAIMS}workers_per_device: 1")

    def _check_gpus_per_trial(self, n_gpus: int) -> None:
        run, path = self._run, "run.gpus_per_trial"
        if run.device in ("cpu", "mps"):
            self._add(path, f"is for GPUs of CUDA, and run.device is {run.device}; drop one")
        elif run.device.startswith("cuda:") and n_gpus > 1:
            self._add(path, f"run.device: {run.device} is one GPU; set it to cuda, or this to 1")
        if n_gpus > 1 and not has_own_training(self._spec.sections["train"]):
            message = "built-in training computes on one device; set it to 1, or bring your own"
            self._add(path, message)
        if run.workers_per_device > 1:
            message = "run.gpus_per_trial gives each trial GPUs to itself; drop one"
            self._add("run.workers_per_device", message)

    def _check_precision(self) -> None:
        device = self._run.device
        if self._run.precision == "tf32" and device in ("cpu", "mps"):
            message = f"tf32 is for NVIDIA GPUs, and run.device is {device}; use fp32 or bf16"
            self._add("run.precision", message)

    def _check_own_training(self) -> None:
        """What a function or a program of the user's own does not look at."""
        own = next((key for key in OWN_TRAINING if key in self._spec.sections["train"]), None)
        if own is None:
            return
        if self._run.precision != "fp32":
            message = f"train.{own} computes with numbers of its own choice; drop this"
            self._add("run.precision", message)
        for path in ("run.lanes", "run.pack"):
            value = attrgetter(path)(self._spec)
            if isinstance(value, int) and value > 1:
                message = f"train.{own} has its worker to itself from begin to end; drop this"
                self._add(path, message)

    def _check_sizes(self) -> None:
        for path, most in _MOST.items():
            value = attrgetter(path)(self._spec)
            if isinstance(value, int) and value > most:
                self._add(path, f"must be at most {most:,}, got {value:,}")
