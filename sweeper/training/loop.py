"""The one loop over epochs, and how a user's own training function is called.

Both tell a :class:`Reporter` what each epoch measured and know nothing of who listens. The signals
that it raises pass through untouched: the caller judges how a trial ended.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor

from sweeper.config.names import mlflow_name_fault
from sweeper.config.references import load_reference
from sweeper.config.settings import (
    DataConfig,
    FunctionConfig,
    ModelConfig,
    TrainConfig,
    TrialConfig,
)
from sweeper.data.dataset import TrialData
from sweeper.errors import TrainingError, TrialInterrupted
from sweeper.models import build_model, check_model
from sweeper.timing import Entry, TimeLedger
from sweeper.training.checkpoint import load_checkpoint, save_checkpoint
from sweeper.training.learner import Batches, EpochTotals, Learner, Runtime
from sweeper.training.optim import Schedule, build_optimizer
from sweeper.training.seed import capture_rng_state, restore_rng_state, seed_everything
from sweeper.trial import EpochMetrics, Objective


class Reporter(Protocol):
    """Who follows a trial."""

    @property
    def ledger(self) -> TimeLedger:
        """Where the trial's time is booked."""
        ...

    @property
    def history(self) -> Sequence[EpochMetrics]:
        """What was reported, by earlier processes of the same trial too."""
        ...

    def is_stopping(self) -> bool:
        """Whether the process must stop; asked after every batch, so it must be cheap."""
        ...

    def require_hold(self) -> None:
        """Make sure that no other process has taken the trial over; raises TrialLost if so."""
        ...

    def report(self, metrics: EpochMetrics) -> None:
        """Record one epoch; an epoch that is known already is ignored.

        Raises:
            TrialPruned: If the pruner wants the trial to end.
            TrialDiverged: If a metric is not finite.
            TrialInterrupted: If the process must stop now.
        """
        ...


def train(
    config: TrialConfig,
    data: TrialData,
    *,
    objective: Objective,
    runtime: Runtime,
    reporter: Reporter,
    checkpoint: Path,
) -> dict[str, Tensor]:
    """Train one trial to its end, or on from its checkpoint.

    An epoch is measured, then saved, then reported, so what was reported can always be reproduced.
    Told to stop, it finishes the batch and saves the unfinished epoch. On a CPU the same config
    and data give the same numbers bit for bit, resumed or not, except ``epoch_seconds``, which is
    the wall time of training and validation together, in every process that took part. For a
    user's ``Dataset`` this holds if it draws from the global generators alone.

    Args:
        config: With data, a model and a :class:`~sweeper.config.settings.TrainConfig`.
        data: On ``runtime.device``.
        objective: Its first metric decides about patience.
        runtime: Where and with which numbers to compute.
        reporter: Hears of every epoch, of those in the checkpoint once more.
        checkpoint: File to go on from, replaced after each epoch. One that is damaged counts as
            none: the trial starts over, with the same numbers.

    Returns:
        The weights of the epoch that counts (``Objective.best``), on the CPU.

    Raises:
        TrainingError: If the model cannot be built or fed, or a setting contradicts another.
        StoreError: If the checkpoint cannot be written.
        TrialInterrupted: If the process must stop; also from ``reporter``.
        TrialPruned, TrialDiverged, TrialLost: From ``reporter``.
    """
    assert config.data is not None
    assert isinstance(config.train, TrainConfig)
    ledger = reporter.ledger
    seed_everything(config.seed)
    with ledger.booked(Entry.MODEL):
        learner = build_learner(config, data, runtime)
    shuffle = torch.Generator().manual_seed(config.seed)
    history: list[EpochMetrics] = []
    best_weights: dict[str, Tensor] = {}
    totals, seconds = EpochTotals(), 0.0  # of the epoch under way

    with ledger.booked(Entry.CHECKPOINT):
        saved = load_checkpoint(checkpoint)
    if saved is not None:
        learner.load_state_dict(saved["learner"])
        restore_rng_state(saved["rng"], runtime.device)
        shuffle.set_state(saved["shuffle"])
        history = [EpochMetrics(**record) for record in saved["history"]]
        best_weights = saved["best_weights"]
        totals, seconds = EpochTotals(**saved["totals"]), saved["seconds"]
        for metrics in history:
            reporter.report(metrics)

    @ledger.booked(Entry.CHECKPOINT)
    def save(rng: dict[str, Any], epoch_start: Tensor, *, is_best: bool) -> None:
        reporter.require_hold()
        state = learner.state_dict()
        save_checkpoint(
            checkpoint,
            {
                "learner": state,
                "rng": rng,
                "shuffle": epoch_start,
                "history": [asdict(metrics) for metrics in history],
                # The same tensors twice take the room of one.
                "best_weights": state["model"] if is_best else best_weights,
                "totals": vars(totals),
                "seconds": seconds,
            },
        )

    while not _is_over(history, config.train, objective):
        started_s = time.perf_counter() - seconds
        epoch, epoch_start, rng = len(history) + 1, shuffle.get_state(), None
        try:
            batches = data.train.batches(
                config.data.batch_size, generator=shuffle, skip=totals.n_batches
            )
            with ledger.booked(Entry.STEP):
                train_loss = learner.train_epoch(_until_stopped(batches, reporter, epoch), totals)
            rng = capture_rng_state(runtime.device)
            batches = data.validation.batches(config.data.batch_size)
            with ledger.booked(Entry.EVALUATE):
                val_loss, val_accuracy = learner.evaluate(_until_stopped(batches, reporter, epoch))
        except TrialInterrupted:
            seconds = time.perf_counter() - started_s
            # An evaluation is done again from its start, with the numbers that it had there.
            save(rng or capture_rng_state(runtime.device), epoch_start, is_best=False)
            raise
        values = {
            "train_loss": train_loss,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "learning_rate": learner.learning_rate,
            "epoch_seconds": time.perf_counter() - started_s,
        }
        metrics = EpochMetrics(epoch, values, time.time())
        history.append(metrics)
        is_best = objective.best(history) is metrics
        if is_best:
            best_weights = learner.weights()
        totals, seconds = EpochTotals(), 0.0
        save(capture_rng_state(runtime.device), shuffle.get_state(), is_best=is_best)
        reporter.report(metrics)
    return best_weights


def _until_stopped(batches: Batches, reporter: Reporter, epoch: int) -> Batches:
    """Batches up to the one after which the process must stop; the next one is not loaded."""
    batches = iter(batches)
    while True:
        with reporter.ledger.booked(Entry.DATA):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch
        if reporter.is_stopping():
            raise TrialInterrupted(f"stopped in epoch {epoch}")


def build_learner(config: TrialConfig, data: TrialData, runtime: Runtime) -> Learner:
    """A trial's model, before its first update, from the state of torch's random generator.

    Args:
        config: As for :func:`train`.
        data: Of which only the form counts.
        runtime: As for :func:`train`.

    Raises:
        TrainingError: If the model cannot be built or fed, or a setting contradicts another.
    """
    settings = config.train
    assert isinstance(settings, TrainConfig)
    assert config.data is not None
    assert config.model is not None
    shapes = data.info.input_shape, data.info.n_classes
    model = build_model(config.model.architecture, *shapes, **config.model.params)
    model.to(runtime.device)
    check_model(model, *shapes)
    optimizer = build_optimizer(
        settings.optimizer,
        model,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        l2=settings.l2,
    )
    return Learner(
        model,
        optimizer,
        schedule=_build_schedule(settings, data.train.n_rows, config.data.batch_size),
        runtime=runtime,
        l1=settings.l1,
        clip_grad_norm=settings.clip_grad_norm,
    )


def _build_schedule(settings: TrainConfig, n_rows: int, batch_size: int) -> Schedule:
    if settings.warmup_epochs >= settings.epochs:
        raise TrainingError(
            f"train.warmup_epochs: must be < train.epochs={settings.epochs}, "
            f"got {settings.warmup_epochs}"
        )
    full, rest = divmod(n_rows, batch_size)
    steps_per_epoch = full + (rest > 1 or not full)  # a Split drops a last batch of one row
    return Schedule(
        settings.schedule,
        peak=settings.learning_rate,
        total_steps=settings.epochs * steps_per_epoch,
        warmup_steps=int(settings.warmup_epochs * steps_per_epoch),
        drop_steps=settings.step_epochs * steps_per_epoch,
        drop_factor=settings.step_gamma,
    )


def _is_over(history: Sequence[EpochMetrics], settings: TrainConfig, objective: Objective) -> bool:
    if len(history) >= settings.epochs:
        return True
    leading = Objective(objective.metrics[:1], objective.directions[:1]).best(history)
    if leading is None or settings.patience is None:
        return False
    return len(history) - leading.epoch >= settings.patience


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
        return self.reporter.history

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
        if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 1:
            raise TrainingError(f"trial.report: epoch must be an integer >= 1, got {epoch!r}")
        if self._reported and epoch <= self._reported[-1]:
            raise TrainingError(
                f"trial.report: epochs must increase, got {epoch} after {self._reported[-1]}"
            )
        if bad := [name for name in metrics if mlflow_name_fault(name)]:
            raise TrainingError(
                f"trial.report: {bad[0]!r} is no name for a metric: {mlflow_name_fault(bad[0])}"
            )
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

    ``params`` is the study file's ``data``, ``model`` and ``train`` after sampling, read-only; a
    section that the file does not have is absent.

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
        run(_read_only(params), trial)
    if not trial.history:
        raise TrainingError(
            f"train.function: {config.train.function} ended without a report; call "
            f"trial.report(epoch, {trial.objective.metrics[0]}=...) after each epoch"
        )


def _as_params(section: DataConfig | ModelConfig | FunctionConfig) -> dict[str, Any]:
    named = {name: value for name, value in vars(section).items() if name != "params"}
    return named | dict(section.params)


def _read_only(value: Any) -> Any:
    if isinstance(value, Mapping):
        return MappingProxyType({key: _read_only(item) for key, item in value.items()})
    if isinstance(value, list):
        return tuple(_read_only(item) for item in value)
    return value


def _as_number(name: str, value: object) -> float:
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return float(value.item())
    if isinstance(value, Real):
        return float(value)
    raise TrainingError(
        f"trial.report: {name} must be a real number or a tensor of one element, got "
        f"{type(value).__name__} {value!r}"
    )
