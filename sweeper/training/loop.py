"""The loop over epochs, from which a stopped trial goes on bit for bit."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import torch

from sweeper.config.references import is_reference
from sweeper.config.settings import TrainConfig, TrialConfig
from sweeper.data.batches import Pass
from sweeper.data.dataset import TrialData
from sweeper.errors import TrialInterrupted
from sweeper.timing import Entry
from sweeper.training.build import BuildLearner, build_learner
from sweeper.training.checkpoint import load_checkpoint, save_checkpoint
from sweeper.training.learner import Learner, Runtime
from sweeper.training.metrics import require_measured
from sweeper.training.progress import Progress
from sweeper.training.reporter import Reporter
from sweeper.training.seed import BatchSeeds, seed_everything
from sweeper.training.stretch import Stretch, stretches
from sweeper.trial import EpochMetrics, Objective

Value = TypeVar("Value")


def drive(steps: Generator[None, None, Value]) -> Value:
    """Do all steps of :func:`training`, and nothing beside it; what it returns."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        value: Value = end.value
        return value


def training(
    config: TrialConfig,
    data: TrialData,
    *,
    objective: Objective,
    runtime: Runtime,
    reporter: Reporter,
    checkpoint: Path,
    build: BuildLearner = build_learner,
    save_every_s: float = 0.0,
) -> Generator[None, None, dict[str, Any]]:
    """Train one trial to its end, or on from its checkpoint, a stretch of batches at each step.

    An epoch is measured, then saved if that is due, then reported. Those that were reported after
    the checkpoint are done again from there, and count as they were reported. Told to stop, it
    finishes the stretch and saves the unfinished epoch. On a CPU the same config and data give the
    same numbers bit for bit, resumed or not, except ``epoch_seconds``, which is the wall time of
    training and validation together, in every process that took part. For a user's ``Dataset``
    this holds if it draws from the global generators alone.

    Args:
        config: With data, a model and a :class:`~sweeper.config.settings.TrainConfig`.
        data: On ``runtime.device``.
        objective: Its first metric decides about patience.
        runtime: Where and with which numbers to compute.
        reporter: Hears of every epoch, of those in the checkpoint once more. Its ledger must stand
            still while this is suspended, for else it counts what others do.
        checkpoint: File to go on from, replaced after an epoch. One that is damaged counts as
            none: the trial starts over, with the same numbers.
        build: Makes the learner, as :func:`~sweeper.training.build.build_learner` does.
        save_every_s: Seconds to the next checkpoint at least, >= 0; at 0 each epoch has one. What
            would be done again is less than these and an epoch.

    Yields:
        After each stretch of training or evaluation; what the learner was given must be done
        before the next step. Also where an epoch is announced, if the reporter says so.

    Returns:
        The ``state_dict`` of the epoch that counts (``Objective.best``), on the CPU.

    Raises:
        TrainingError: If the model cannot be built or fed, or a setting contradicts another.
        StoreError: If the checkpoint cannot be written.
        TrialInterrupted: If the process must stop; also from ``reporter``.
        TrialPruned, TrialDiverged, TrialLost: From ``reporter``.
    """
    assert isinstance(config.train, TrainConfig)
    ledger = reporter.ledger
    seed_everything(config.seed)
    with ledger.booked(Entry.CHECKPOINT):
        saved = load_checkpoint(checkpoint)
    with ledger.booked(Entry.MODEL):
        learner = build(config, data, runtime, is_resumed=saved is not None)
    progress = Progress(learner, objective, seed=config.seed, device=runtime.device)
    if saved is not None:
        progress.restore(saved)
        for metrics in progress.history:
            reporter.report(metrics)
    saver = _Saver(progress, checkpoint, reporter, every_s=save_every_s)
    epochs = _Epochs(config, data, learner, progress=progress, reporter=reporter, runtime=runtime)
    while not _is_over(progress.history, config.train, objective):
        started_s = time.perf_counter() - progress.seconds
        try:
            measured = yield from epochs.measured()
        except TrialInterrupted:
            progress.seconds = time.perf_counter() - started_s
            saver.save()
            raise
        values = {**measured, "epoch_seconds": time.perf_counter() - started_s}
        require_measured(objective, data.info, values)
        yield from _end_epoch(values, progress, reporter, saver)
    return progress.best_weights


class _Epochs:
    """Trains and measures a trial, an epoch at a time.

    Args:
        config: Of the trial.
        data: Of the trial.
        learner: Of the trial.
        progress: Of the trial; which epoch is under way, and from where its rows are shuffled.
        reporter: Hears of the progress.
        runtime: Of the trial.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: TrialData,
        learner: Learner,
        *,
        progress: Progress,
        reporter: Reporter,
        runtime: Runtime,
    ) -> None:
        assert config.data is not None
        assert isinstance(config.train, TrainConfig)
        self._n_epochs = config.train.epochs
        self._data = data
        self._learner = learner
        self._progress = progress
        self._reporter = reporter
        self._ledger = reporter.ledger
        self._seeds = _seeds_of(config, runtime.device)
        self._batch_size = config.data.batch_size
        self._n_training = ceil(data.train.n_rows / self._batch_size)
        self._n_batches = self._n_training + ceil(data.validation.n_rows / self._batch_size)

    def measured(self) -> Generator[None, None, dict[str, float]]:
        """What the epoch under way comes to, from the batch on that it has come to.

        Raises:
            TrialInterrupted: If the process must stop.
        """
        train_loss = yield from self._train()
        self._progress.end_training()
        val_loss, measured = yield from self._evaluate()
        return {
            "train_loss": train_loss,
            "val_loss": val_loss,
            **measured,
            "learning_rate": self._learner.learning_rate,
        }

    def _train(self) -> Generator[None, None, float]:
        n_done, shuffle = self._learner.totals.n_batches, self._progress.shuffle
        with self._ledger.booked(Entry.DATA):
            batches = self._data.train.batches(self._batch_size, shuffle=shuffle, skip=n_done)
            if self._learner.stride > 1 and self._progress.epoch < self._n_epochs:
                shuffle.draw_ahead(self._data.train.n_rows)  # while the device is at work
        with self._ledger.booked(Entry.STEP):
            yield from self._steps(batches, self._learner.train, n_done)
            return self._learner.end_training()

    def _evaluate(self) -> Generator[None, None, tuple[float, Mapping[str, float]]]:
        batches = self._data.validation.batches(self._batch_size)
        with self._ledger.booked(Entry.EVALUATE):
            yield from self._steps(batches, self._learner.evaluate, self._n_training)
            return self._learner.end_evaluation()

    def _steps(
        self, batches: Pass, take: Callable[[Stretch], None], n_done: int
    ) -> Iterator[None]:
        """Give the learner a pass, a stretch at each step.

        Args:
            batches: All that is left of the pass.
            take: Of the learner.
            n_done: Batches of the epoch before these.
        """
        epoch, learner, reporter = self._progress.epoch, self._learner, self._reporter
        parts = stretches(
            batches,
            lambda: learner.stride,
            ledger=self._ledger,
            seeds=self._seeds,
            number=(epoch - 1) * self._n_batches + n_done,
        )
        for stretch in parts:
            n_done += stretch.n_left
            take(stretch)
            yield
            reporter.show_progress(epoch, n_done / self._n_batches)
            if reporter.is_stopping():
                raise TrialInterrupted(f"stopped in epoch {epoch}")


class _Saver:
    """Writes the checkpoints of a trial.

    Args:
        progress: That is saved.
        file: Replaced each time.
        reporter: Of the trial.
        every_s: Seconds between two that nothing else calls for, >= 0.
    """

    def __init__(
        self, progress: Progress, file: Path, reporter: Reporter, *, every_s: float
    ) -> None:
        self._progress = progress
        self._file = file
        self._reporter = reporter
        self._every_s = every_s
        self._saved_s = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the latest is old enough."""
        return time.monotonic() - self._saved_s >= self._every_s

    def save(self) -> None:
        """Write one.

        Raises:
            StoreError: If it cannot be written.
            TrialLost: If another process has taken the trial over.
        """
        with self._reporter.ledger.booked(Entry.CHECKPOINT):
            self._reporter.require_ownership()
            save_checkpoint(self._file, self._progress.capture())
            self._saved_s = time.monotonic()


def _end_epoch(
    values: Mapping[str, float], progress: Progress, reporter: Reporter, saver: _Saver
) -> Iterator[None]:
    """Save what was measured if that is due, then report it: as it was reported before, if so."""
    epoch = progress.epoch
    known = [earlier for earlier in reporter.history if earlier.epoch == epoch]
    [metrics] = known or [EpochMetrics(epoch, values, time.time())]
    progress.end_epoch(metrics)
    if is_saved := saver.is_due:
        saver.save()
    if reporter.announce(metrics):
        with reporter.ledger.booked(Entry.REPORT):
            yield
    try:
        reporter.report(metrics)
    except TrialInterrupted:
        if not is_saved:
            saver.save()
        raise


def _seeds_of(config: TrialConfig, device: torch.device) -> BatchSeeds | None:
    """What seeds its batches; None if all draw from one stream."""
    if config.draws == "stream":
        return None
    values = config.params.values()
    own = any(isinstance(value, str) and is_reference(value) for value in values)
    return BatchSeeds(config.seed, device, has_own_code=own)


def _is_over(history: Sequence[EpochMetrics], settings: TrainConfig, objective: Objective) -> bool:
    if len(history) >= settings.epochs:
        return True
    leading = Objective(objective.metrics[:1], objective.directions[:1]).best(history)
    if leading is None or settings.patience is None:
        return False
    return len(history) - leading.epoch >= settings.patience
