"""The loop over epochs, from which a stopped trial goes on bit for bit."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict
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
from sweeper.training.learner import EpochTotals, Learner, Runtime
from sweeper.training.metrics import require_measured
from sweeper.training.reporter import Reporter
from sweeper.training.seed import (
    BatchSeeds,
    capture_rng_state,
    restore_rng_state,
    seed_everything,
)
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
    assert config.data is not None
    assert isinstance(config.train, TrainConfig)
    ledger, batch_size = reporter.ledger, config.data.batch_size
    seed_everything(config.seed)
    with ledger.booked(Entry.CHECKPOINT):
        saved = load_checkpoint(checkpoint)
    with ledger.booked(Entry.MODEL):
        learner = build(config, data, runtime, is_resumed=saved is not None)
    state = _TrialProgress(learner, objective, seed=config.seed, device=runtime.device)
    if saved is not None:
        state.restore(saved)
        for metrics in state.history:
            reporter.report(metrics)

    saved_s = time.monotonic()

    @ledger.booked(Entry.CHECKPOINT)
    def save() -> None:
        nonlocal saved_s
        reporter.require_ownership()
        save_checkpoint(checkpoint, state.capture())
        saved_s = time.monotonic()

    seeds = _seeds_of(config, runtime.device)
    n_training = ceil(data.train.n_rows / batch_size)
    n_batches = n_training + ceil(data.validation.n_rows / batch_size)

    def steps(batches: Pass, take: Callable[[Stretch], None], n_done: int) -> Iterator[None]:
        first = (epoch - 1) * n_batches + n_done
        parts = stretches(
            batches, lambda: learner.stride, ledger=ledger, seeds=seeds, number=first
        )
        for stretch in parts:
            n_done += stretch.n_left
            take(stretch)
            yield
            reporter.show_progress(epoch, n_done / n_batches)
            if reporter.is_stopping():
                raise TrialInterrupted(f"stopped in epoch {epoch}")

    while not _is_over(state.history, config.train, objective):
        epoch, started_s = len(state.history) + 1, time.perf_counter() - state.seconds
        n_done = learner.totals.n_batches
        try:
            with ledger.booked(Entry.DATA):
                batches = data.train.batches(batch_size, generator=state.shuffle, skip=n_done)
            with ledger.booked(Entry.STEP):
                yield from steps(batches, learner.train, n_done)
                train_loss = learner.end_training()
            state.end_training()
            batches = data.validation.batches(batch_size)
            with ledger.booked(Entry.EVALUATE):
                yield from steps(batches, learner.evaluate, n_training)
                val_loss, measured = learner.end_evaluation()
        except TrialInterrupted:
            state.seconds = time.perf_counter() - started_s
            save()
            raise
        values = {
            "train_loss": train_loss,
            "val_loss": val_loss,
            **measured,
            "learning_rate": learner.learning_rate,
            "epoch_seconds": time.perf_counter() - started_s,
        }
        require_measured(objective, data.info, values)
        known = [earlier for earlier in reporter.history if earlier.epoch == epoch]
        [metrics] = known or [EpochMetrics(epoch, values, time.time())]
        state.end_epoch(metrics)
        if is_saved := time.monotonic() - saved_s >= save_every_s:
            save()
        if reporter.announce(metrics):
            with ledger.booked(Entry.REPORT):
                yield
        try:
            reporter.report(metrics)
        except TrialInterrupted:
            if not is_saved:
                save()
            raise
    return state.best_weights


class _TrialProgress:
    """How far a trial has come: all that another process needs to go on from here.

    Attributes:
        shuffle: Draws the order of the training rows, once an epoch.
        history: Of the epochs that are done.
        best_weights: Of the epoch that counts, on the CPU; empty before the first one.
        seconds: That the epoch under way took in processes that were stopped.
    """

    def __init__(
        self, learner: Learner, objective: Objective, *, seed: int, device: torch.device
    ) -> None:
        self._learner = learner
        self._objective = objective
        self._device = device
        self.shuffle = torch.Generator().manual_seed(seed)
        self.history: list[EpochMetrics] = []
        self.best_weights: dict[str, Any] = {}
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._learner.totals, self.seconds = EpochTotals(), 0.0
        self._order = self.shuffle.get_state()  # from which the order of the rows is drawn
        self._rng: dict[str, Any] | None = None

    def end_training(self) -> None:
        """All batches are trained on; an evaluation that is stopped is done again from here."""
        self._rng = capture_rng_state(self._device)

    def end_epoch(self, metrics: EpochMetrics) -> None:
        """The epoch is measured: keep its weights if it is the one that counts."""
        self.history.append(metrics)
        if self._is_latest_best():
            self.best_weights = self._learner.weights()
        self._start_epoch()

    def _is_latest_best(self) -> bool:
        return self._objective.best(self.history) is self.history[-1]

    def capture(self) -> dict[str, Any]:
        """What a checkpoint holds, after an epoch or in its midst; the tensors are no copies."""
        state = self._learner.state_dict()
        averaged = "average" in state
        totals = self._learner.totals
        is_best = not totals.n_batches and self._is_latest_best()
        return {
            "learner": state,
            "rng": self._rng or capture_rng_state(self._device),
            "shuffle": self._order,
            "history": [asdict(metrics) for metrics in self.history],
            # The same tensors twice take the room of one; an average of them is others.
            "best_weights": state["model"] if is_best and not averaged else self.best_weights,
            "totals": vars(totals),
            "seconds": self.seconds,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what another process captured, of the same trial."""
        self._learner.load_state_dict(saved["learner"])
        restore_rng_state(saved["rng"], self._device)
        self.shuffle.set_state(saved["shuffle"])
        self._start_epoch()
        self.history = [EpochMetrics(**record) for record in saved["history"]]
        self.best_weights = saved["best_weights"]
        self._learner.totals, self.seconds = EpochTotals(**saved["totals"]), saved["seconds"]


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
