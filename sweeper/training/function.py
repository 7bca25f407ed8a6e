"""A user's own training routine: what it is given, and how it is called."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sweeper.config.names import metric_name_fault
from sweeper.config.references import load_reference
from sweeper.config.settings import DataConfig, FunctionConfig, ModelConfig, TrialConfig
from sweeper.errors import TrainingError
from sweeper.timing import Entry
from sweeper.training.reporter import Reporter
from sweeper.training.seed import seed_everything
from sweeper.trial import EpochMetrics, Objective


@dataclass(frozen=True, kw_only=True)
class UserTrial:
    """What a user's training function is given beside the parameters.

    Attributes:
        number: Of the trial in its study, from 0.
        seed: Already given to Python, NumPy and torch; in [0, 2**63).
        device: Where to train.
        checkpoint: A folder that survives a restart of the trial; it exists.
        objective: The metrics that every report must hold.
        reporter: Who follows the trial.
        clock: Seconds since the Unix epoch.
    """

    number: int
    seed: int
    device: torch.device
    checkpoint: Path
    objective: Objective
    reporter: Reporter
    clock: Callable[[], float] = time.time
    _reported: list[int] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self.checkpoint.mkdir(parents=True, exist_ok=True)

    @property
    def history(self) -> Sequence[EpochMetrics]:
        """What was reported so far, also before a restart."""
        return list(self.reporter.history)

    def plan_epochs(self, n_epochs: int) -> None:
        """Tell how many epochs the trial will report, before its first report.

        A pruner with ``min_epochs: auto`` takes it, of the first trial that tells, unless the
        study file has ``train.epochs``. After its last epoch a trial is not pruned.

        Args:
            n_epochs: The last epoch that will be reported, >= 1.

        Raises:
            TrainingError: If it is none, or comes after a report.
            TrialInterrupted: To end the trial now; let it pass.
        """
        if not _is_epoch(n_epochs):
            raise TrainingError(
                f"trial.plan_epochs: must be given an integer >= 1, got {n_epochs!r}"
            )
        if self._reported:
            raise TrainingError(
                f"trial.plan_epochs: comes after the report of epoch {self._reported[-1]}; call "
                "it before the first report"
            )
        self.reporter.plan_epochs(n_epochs)

    def report(self, epoch: int, **metrics: float | Tensor) -> None:
        """Tell what one epoch measured.

        Args:
            epoch: Epochs done, >= 1, more than at the call before. One that an earlier process of
                the trial reported is ignored.
            **metrics: Real numbers or tensors of one element, each of the objective's among them.

        Raises:
            TrainingError: If the call is none of that.
            TrialPruned, TrialDiverged, TrialInterrupted: To end the trial now; let them pass.
        """
        if not _is_epoch(epoch):
            raise TrainingError(f"trial.report: epoch must be an integer >= 1, got {epoch!r}")
        if self._reported and epoch <= self._reported[-1]:
            raise TrainingError(
                f"trial.report: epochs must increase, got {epoch} after {self._reported[-1]}"
            )
        for name in metrics:
            if fault := metric_name_fault(name, self.objective.metrics):
                raise TrainingError(f"trial.report: {name!r} is no name for a metric: {fault}")
        missing = [name for name in self.objective.metrics if name not in metrics]
        if missing:
            raise TrainingError(
                f"trial.report: every report needs the objective's {', '.join(missing)}; epoch "
                f"{epoch} reported {', '.join(metrics) or 'nothing'}"
            )
        values = {name: _as_number(name, value) for name, value in metrics.items()}
        self._reported.append(epoch)
        self.reporter.report(EpochMetrics(epoch, values, self.clock()))


def train_function(config: TrialConfig, trial: UserTrial) -> None:
    """Seed everything and call the user's ``run(params, trial)``.

    ``params`` is the study file's ``data``, ``model`` and ``train`` after sampling, plain dicts
    and lists of its own; a section that the file does not have is absent. What it returns counts
    as the report of one epoch if it made none.

    Raises:
        TrainingError: If the function ends without a report.
        SpecError: If it cannot be imported.
        TrialPruned, TrialDiverged, TrialInterrupted: From the reporter.
    """
    assert isinstance(config.train, FunctionConfig)
    run = load_reference(config.train.function)
    sections = {"data": config.data, "model": config.model, "train": config.train}
    params = {name: _as_params(section) for name, section in sections.items() if section}
    seed_everything(config.seed)
    with trial.reporter.ledger.booked(Entry.STEP):
        returned = run(copy.deepcopy(params), trial)
    if not trial.history and returned is not None:
        trial.report(1, **_returned_metrics(config.train.function, returned, trial.objective))
    if not trial.history:
        raise TrainingError(
            f"train.function: {config.train.function} ended without a report; call "
            f"trial.report(epoch, {trial.objective.metrics[0]}=...) after each epoch"
        )


def _returned_metrics(reference: str, returned: object, objective: Objective) -> dict[str, Any]:
    """What a function means by a value that it returns, as an objective of Optuna does."""
    names = objective.metrics
    if isinstance(returned, Mapping):
        return dict(returned)
    values = returned if isinstance(returned, tuple | list) else (returned,)
    if len(values) != len(names):
        raise TrainingError(
            f"train.function: {reference} made no report and returned {len(values)} values; "
            f"wanted are {', '.join(names)}, in this order"
        )
    return dict(zip(names, values, strict=True))


def _is_epoch(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _as_params(section: DataConfig | ModelConfig | FunctionConfig) -> dict[str, Any]:
    named = {name: value for name, value in vars(section).items() if name != "params"}
    return named | dict(section.params)


def _as_number(name: str, value: object) -> float:
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return float(value.item())
    if isinstance(value, Real):
        return float(value)
    raise TrainingError(
        f"trial.report: {name} must be a real number or a tensor of one element, got "
        f"{type(value).__name__} {value!r}"
    )
