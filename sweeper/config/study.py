"""A study file, read and valid: what the rest of sweeper sees of it."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sweeper.config.cluster import ClusterSpec
from sweeper.config.data_params import FIXED_DATA_PARAMS
from sweeper.config.duration import Duration
from sweeper.config.names import matching
from sweeper.config.problems import Origin
from sweeper.config.ranges import Range, Section, walk_values
from sweeper.config.settings import Precision, Scalar
from sweeper.config.warm_start import WarmStartSpec
from sweeper.trial import Objective

_DEVICE = r"^(auto|cpu|mps|cuda(:[0-9]+)?)$"

#: Sections of the study file in which ranges may stand.
SEARCHABLE = ("data", "model", "train")
#: Keys of each that no branch may set: what else its section may hold hangs on them, or, for the
#: data, whether trials compare at all.
FIXED: Mapping[str, tuple[str, ...]] = {
    "data": ("name", "root", "fallback", "validation", "task", "validation_transform"),
    "model": ("architecture",),
    "train": ("function", "command", "metrics", "mlflow"),
}
#: Keys of ``train`` that name training of the user's own, which has other keys as it likes.
OWN_TRAINING = ("function", "command")


def has_own_training(train: Section) -> bool:
    """Whether a function or a program of the user's own trains."""
    return any(key in train for key in OWN_TRAINING)


def fixed_keys(name: str, section: Section) -> tuple[str, ...]:
    """The keys of a section that are constants: ``FIXED``, and those that go with them."""
    own = section.get("name") if name == "data" else None
    if isinstance(own, str):
        return (*FIXED[name], *FIXED_DATA_PARAMS.get(own, ()))
    return (*FIXED[name], "resume", "args", "report") if "command" in section else FIXED[name]


Device = Annotated[
    str,
    matching(_DEVICE, "must be auto, cpu, mps, cuda, or one GPU such as cuda:0"),
    Field(
        json_schema_extra={"pattern": _DEVICE},
        examples=["auto", "cpu", "cuda", "cuda:0", "mps"],
    ),
]


@dataclass(frozen=True, kw_only=True)
class BudgetSpec:
    """When the goal is reached, and when a command gives up before it."""

    trials: Annotated[
        int | None,
        Field(
            ge=1,
            description="Finished trials (complete and pruned) that the study should reach, a "
            "total, or all settings if they are fewer; default 50, 1 without ranges, all of a "
            "grid",
        ),
    ] = None
    timeout: Annotated[
        Duration | None,
        Field(description="Wall time of one command; then it drains and exits with 4"),
    ] = None
    trial_timeout: Annotated[
        Duration | None,
        Field(description="Wall time of a trial in one process; then it fails"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SamplerSpec:
    """What draws the values."""

    name: Annotated[
        Literal["auto", "conditional_gp", "tpe", "gp", "random", "grid", "qmc", "cmaes", "nsga2"],
        Field(description="What proposes values; auto takes conditional_gp"),
    ] = "auto"
    duplicates: Annotated[
        Literal["never", "reseed"],
        Field(
            description="What follows once all settings were tried: never ends the study, reseed "
            "tries them again with other seeds"
        ),
    ] = "never"


@dataclass(frozen=True, kw_only=True)
class PrunerSpec:
    """Which Optuna pruner ends trials early."""

    name: Annotated[
        Literal["asha", "hyperband", "median", "percentile", "patient", "none"],
        Field(description="What ends trials early; asha is Optuna's SuccessiveHalvingPruner"),
    ] = "asha"
    min_epochs: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=1)],
        Field(
            description="asha, hyperband, median, percentile: epochs no trial is pruned before; "
            "auto follows from the epochs of the longest trial"
        ),
    ] = "auto"
    reduction_factor: Annotated[
        int, Field(ge=2, description="asha, hyperband: one in so many goes on at each rung")
    ] = 3
    percentile: Annotated[
        float, Field(gt=0, lt=100, description="percentile: best share that goes on")
    ] = 25.0
    startup_trials: Annotated[
        int, Field(ge=0, description="median, percentile: complete trials before any is pruned")
    ] = 5
    patience: Annotated[
        int, Field(ge=1, description="patient: epochs without improvement before the end")
    ] = 3


#: Keys of ``pruner`` beside ``name`` that each pruner looks at.
PRUNER_KEYS: Mapping[str, tuple[str, ...]] = {
    "asha": ("min_epochs", "reduction_factor"),
    "hyperband": ("min_epochs", "reduction_factor"),
    "median": ("min_epochs", "startup_trials"),
    "percentile": ("min_epochs", "startup_trials", "percentile"),
    "patient": ("patience",),
    "none": (),
}


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Where and how trials are computed; may change while a study goes on."""

    workers: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=1)],
        Field(description="Processes; auto is workers_per_device a GPU, or one a core on CPU"),
    ] = "auto"
    workers_per_device: Annotated[
        int, Field(ge=1, description="Processes of each GPU when workers is auto")
    ] = 1
    gpus_per_trial: Annotated[
        int | None,
        Field(
            ge=1,
            description="GPUs that a trial has to itself, and the only ones that it sees; more "
            "than 1 for your own training alone",
        ),
    ] = None
    lanes: Annotated[
        Literal["auto", "off"] | Annotated[int, Field(ge=1)],
        Field(
            description="Trials that a worker trains at once, batch by batch in turn; auto finds "
            "out how many are fastest on an NVIDIA GPU, elsewhere it is 1; off is one, operator "
            "by operator"
        ),
    ] = "off"
    pack: Annotated[
        Literal["auto", "off"] | Annotated[int, Field(ge=2)],
        Field(
            description="Most of a worker's trials that it trains as one program, if theirs are "
            "alike; auto is all lanes of an NVIDIA GPU whose networks have no convolutions, "
            "elsewhere off"
        ),
    ] = "auto"
    device: Annotated[Device, Field(description="Where trials are trained")] = "auto"
    precision: Annotated[
        Precision,
        Field(
            description="tf32 rounds the factors of products on NVIDIA GPUs from Ampere on; "
            "bf16 is by autocast"
        ),
    ] = "fp32"
    object_store: Annotated[
        str | None,
        Field(
            description="Where nodes without a common folder leave each other the checkpoints and "
            "event logs of trials: s3://bucket/prefix, gs://..., file:///folder"
        ),
    ] = None

    @property
    def has_lanes(self) -> bool:
        """Whether trials may be trained beside others of their worker."""
        return self.lanes != "off" or isinstance(self.pack, int)


@dataclass(frozen=True, kw_only=True)
class TrackingSpec:
    """Where MLflow keeps the runs."""

    uri: Annotated[
        str,
        Field(
            description="An MLflow tracking URI; auto is `$MLFLOW_TRACKING_URI`, else "
            "`mlruns/mlflow.db`"
        ),
    ] = "auto"
    log_models: Annotated[
        Literal["none", "best", "completed"], Field(description="Which trials' models are logged")
    ] = "completed"


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """One study file.

    Attributes:
        path: The file as the user named it; its folder is importable for user code.
        sections: ``data``, ``model`` and ``train`` as far as the file has them, ranges included.
        forbid: Combinations of values, by dotted name, that are never drawn.
        enqueue: Values, by dotted name, that are tried first; what they leave out is drawn.
        warm_start: Whose results the sampler begins with, if anybody's.
        origins: Dotted path -> where that value was given, for messages; empty for the whole.
        overrides: What the command line laid over the file.
    """

    path: Path
    name: str
    objective: Objective
    budget: BudgetSpec
    seed: int
    sampler: SamplerSpec
    pruner: PrunerSpec
    sections: Mapping[str, Section]
    forbid: tuple[Mapping[str, Scalar], ...]
    enqueue: tuple[Mapping[str, Scalar], ...]
    warm_start: WarmStartSpec | None
    run: RunSpec
    tracking: TrackingSpec
    cluster: ClusterSpec
    storage: str
    origins: Mapping[str, Origin] = field(compare=False)
    overrides: tuple[str, ...] = field(default=(), compare=False)

    def ranges(self) -> dict[str, Range]:
        """Every range by its dotted name, those inside branches included."""
        return self._ranges

    @cached_property
    def _ranges(self) -> dict[str, Range]:
        values = walk_values(self.sections)
        return {name: value for name, _, value in values if isinstance(value, Range)}

    @property
    def n_trials(self) -> int:
        """Finished trials that the study should reach, if there are so many settings."""
        if self.budget.trials is not None:
            return self.budget.trials
        return DEFAULT_TRIALS if self.ranges() else 1

    @property
    def is_on_sqlite(self) -> bool:
        """Whether the storage is SQLite, on which several workers may claim the same trial."""
        return self.storage.startswith("sqlite")

    @property
    def shares_runs(self) -> bool:
        """Whether the trials' own code logs to their runs in MLflow, beside what they report."""
        return self.sections["train"].get("mlflow") == "trial"

    @property
    def is_proxied(self) -> bool:
        """Whether the storage is behind ``sweeper proxy``."""
        return self.storage.startswith(("grpc:", "grpcs:"))

    def origin(self, path: str) -> Origin:
        """Where the value, or the nearest one around it that was given, stands."""
        while path not in self.origins:
            path = path.rpartition(".")[0]
        return self.origins[path]

    def place(self, path: str) -> str:
        """``studies/mnist.yaml:9: data.name``, for messages about a valid value."""
        return f"{self.origin(path)}: {path}"

    def command(self, *words: str) -> str:
        """A command on this study as it was named here, such as ``sweeper run s.yaml seed=1``."""
        return shlex.join(["sweeper", *words, str(self.path), *self.overrides])


#: Each trial that waits is a record in the storage.
MOST_TRIALS = 1_000_000
#: Of a file that searches something and sets no budget; enough for a handful of ranges.
DEFAULT_TRIALS = 50
