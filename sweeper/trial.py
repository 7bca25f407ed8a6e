"""What is measured of a trial, and how it can end."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Direction = Literal["minimize", "maximize"]
Task = Literal["classification", "multilabel", "regression"]


class TrialState(StrEnum):
    """How a trial stands; the words are the ``sweeper.state`` tag in MLflow.

    ``DIVERGED`` is PRUNED for Optuna, so that the sampler learns to stay away.
    """

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"


class FailureKind(StrEnum):
    """Why a trial failed; decides whether it is tried again (:mod:`~sweeper.study.failures`)."""

    EXCEPTION = "exception"
    DATA_ERROR = "data_error"
    OUT_OF_MEMORY = "out_of_memory"
    TRIAL_TIMEOUT = "trial_timeout"
    LOST_WORKER = "lost_worker"


#: Seconds since the Unix epoch, up to the year 5138: MLflow counts milliseconds in 64 bits.
_LATEST_S = 1e11


def check_time(time_s: float) -> None:
    """Refuse what is no moment since the Unix epoch.

    Raises:
        ValueError: If it is none.
    """
    if not 0 <= time_s <= _LATEST_S:
        raise ValueError(f"time_s must be seconds since the Unix epoch, got {time_s}")


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch measured.

    Attributes:
        epoch: Epochs done, counted from 1.
        values: Metric name -> value, as reported; where :meth:`Objective.faults` names one, the
            trial diverged.
        time_s: When it was measured, seconds since the Unix epoch.
    """

    epoch: int
    values: Mapping[str, float]
    time_s: float

    def __post_init__(self) -> None:
        check_time(self.time_s)
        if not 1 <= self.epoch < 2**63:
            raise ValueError(f"epoch must be in [1, 2**63), got {self.epoch}")

    def not_finite(self) -> list[str]:
        """Names of the metrics that are NaN or infinite."""
        return [name for name, value in self.values.items() if not math.isfinite(value)]


@dataclass(frozen=True)
class Objective:
    """The metrics that a study optimises and the direction of each.

    Attributes:
        metrics: By name; each report holds them.
        directions: Of each.
        losses: Of built-in training. They must be finite as well, any other metric need not.
    """

    metrics: tuple[str, ...]
    directions: tuple[Direction, ...]
    losses: tuple[str, ...] = field(default=(), compare=False)

    @property
    def signs(self) -> tuple[int, ...]:
        """What each metric is multiplied by so that less is better."""
        return tuple(-1 if direction == "maximize" else 1 for direction in self.directions)

    def faults(self, epoch: EpochMetrics) -> list[str]:
        """Metrics that are not finite and must be; with one, an epoch cannot be what counts."""
        return [name for name in epoch.not_finite() if name in (*self.metrics, *self.losses)]

    def is_better(self, candidate: EpochMetrics, incumbent: EpochMetrics | None) -> bool:
        """Whether ``candidate`` should replace ``incumbent`` as the epoch that counts.

        With several metrics no epoch is best, so the later one counts.
        """
        if incumbent is None or len(self.metrics) > 1:
            return True
        new, old = candidate.values[self.metrics[0]], incumbent.values[self.metrics[0]]
        return new > old if self.directions[0] == "maximize" else new < old

    def best(self, history: Sequence[EpochMetrics]) -> EpochMetrics | None:
        """The epoch that counts, the earliest among equals; None for an empty history."""
        chosen = None
        for metrics in history:
            if self.is_better(metrics, chosen):
                chosen = metrics
        return chosen


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        state: COMPLETE, PRUNED, DIVERGED or FAILED.
        best: The epoch that counts; None when no finite epoch was reported.
        cause: One line for people, empty when COMPLETE.
        details: Last lines of a traceback or of the worker's log, empty unless FAILED.
        kind: Of the failure; None unless FAILED.
        retries: How often the trial was tried again before it failed.
        seconds: Where its time went, by :class:`~sweeper.timing.Entry`; that of processes that
            were killed is missing. Two outcomes that differ in it alone are equal.
    """

    state: TrialState
    best: EpochMetrics | None
    cause: str = ""
    details: str = ""
    kind: FailureKind | None = None
    retries: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Features:
    """What the numbers of a table's row are: first numbers, then categories.

    Attributes:
        n_numbers: Of them, scaled and without gaps.
        categories: Sizes: each of the others is a whole number below its size, 0 where the row
            has no value, or one that no training row has.
    """

    n_numbers: int
    categories: tuple[int, ...]


@dataclass(frozen=True)
class Tokens:
    """What the ids of a text are.

    Attributes:
        n_words: Each id is below it: 0 after the end of the text, 1 a word that no training row
            has, or too few of them, and one for each other word.
    """

    n_words: int


#: The metric of a task that ``DataInfo.naive`` is a value of.
NAIVE_METRICS: Mapping[Task, str] = {"classification": "val_accuracy", "regression": "val_rmse"}
#: So many names of classes are kept; of more, none.
MOST_NAMES = 1000


@dataclass(frozen=True)
class DataInfo:
    """What a trial was trained and validated on.

    Attributes:
        name: Data set as the study file names it, with ``-on-digits`` after a fallback.
        fingerprint: 16 hex digits of a SHA-256 over inputs, targets and split; equal for equal
            data on any machine. For a user's ``Dataset`` over the targets and the split alone.
        input_shape: Of one sample, each side >= 1, [C, H, W] for images. Of texts and frames the
            last side is that of the longest: a batch may be shorter.
        n_outputs: Of a model for each sample, >= 1: classes, labels, or targets.
        n_train: Rows that are trained on.
        n_validation: Rows that are held out of the train split.
        mean: Per channel, of the training rows in units of [0, 1]; empty unless inputs are uint8.
        std: As ``mean``, > 0.
        input_dtype: Of the batches, as torch names it.
        task: What is to be learned of a sample: one class, a truth value for each label, or
            numbers.
        target_mean: Of each target of a regression, in the training rows; else empty.
        target_std: As ``target_mean``, > 0.
        features: What a sample holds; None unless it is a table's row.
        tokens: What a sample holds; None unless it is a text, ids [L].
        frames: Whether a sample is [M, T], M numbers of each of T points in time. Those after its
            end are 0 in all M.
        classes: Names of the outputs, classes or labels, in their order; empty where the data have
            none, and if there are more than ``MOST_NAMES``.
        naive: What a model reaches that says the same of every validation row, the commonest
            class of the training rows or their mean, in the metric of ``NAIVE_METRICS``. None of
            labels.
        preprocessing: 16 hex digits of a SHA-256 over what makes inputs of the data as a person
            has them, which a file of that name holds; empty where nothing is kept.
        source: As ``fingerprint``, but over the inputs as files hold them, so that no key which
            may be searched changes it; empty where the inputs are all that is known.
    """

    name: str
    fingerprint: str
    input_shape: tuple[int, ...]
    n_outputs: int
    n_train: int
    n_validation: int
    mean: tuple[float, ...] = field(default=())
    std: tuple[float, ...] = field(default=())
    input_dtype: str = "float32"
    task: Task = "classification"
    target_mean: tuple[float, ...] = field(default=())
    target_std: tuple[float, ...] = field(default=())
    features: Features | None = None
    classes: tuple[str, ...] = field(default=())
    naive: float | None = None
    tokens: Tokens | None = None
    frames: bool = False
    preprocessing: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch("([0-9a-f]{16})?", self.preprocessing):
            raise ValueError(f"preprocessing must be 16 hex digits, got {self.preprocessing!r}")
        if self.n_outputs < 1:
            raise ValueError(f"n_outputs must be >= 1, got {self.n_outputs}")
        if not all(side >= 1 for side in self.input_shape):
            raise ValueError(f"input_shape must hold sides >= 1, got {list(self.input_shape)}")
        _check_scale("mean", self.mean, "std", self.std)
        _check_scale("target_mean", self.target_mean, "target_std", self.target_std)


def _check_scale(name: str, mean: Sequence[float], std_name: str, std: Sequence[float]) -> None:
    if not all(map(math.isfinite, mean)):
        raise ValueError(f"{name} must be finite, got {list(mean)}")
    if len(std) != len(mean) or not all(0 < each < math.inf for each in std):
        raise ValueError(f"{std_name} must be > 0 and of {name}'s length, got {list(std)}")


def are_channels_last(shape: Sequence[int]) -> bool:
    """Whether samples of that shape look like images [H, W, C] instead of [C, H, W]."""
    if len(shape) != 3:
        return False
    height, width, channels = shape
    has_channels = channels in (3, 4) or (channels == 1 and height == width)
    return has_channels and min(height, width) > max(4, channels)
