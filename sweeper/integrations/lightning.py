"""A trial that Lightning's ``Trainer`` trains."""

import os
import signal
import sys
import threading
from importlib import import_module
from importlib.util import find_spec
from math import ceil, inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.durable import Step, durable, replace_file
from sweeper.errors import TrainingError, TrialInterrupted
from sweeper.integrations.reports import Reports, numbers_of, require_device
from sweeper.training.user_trial import UserTrial

#: Two packages with the same classes, of which each knows its own alone.
_PACKAGES = ("lightning.pytorch", "pytorch_lightning")
_NAME = "LightningCallback"
#: What a checkpoint holds of ours.
_STATE = "sweeper"
#: That tell a worker to stop, and that Lightning takes for itself.
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


def _package() -> str:
    """The one whose Trainer the user has: that which is loaded, else installed."""
    loaded = [name for name in _PACKAGES if name in sys.modules]
    installed = [name for name in _PACKAGES if find_spec(name.partition(".")[0])]
    if not [*loaded, *installed]:
        raise ModuleNotFoundError(f"{_NAME} needs Lightning: pip install lightning")
    return [*loaded, *installed][0]


_PACKAGE = _package()
if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import Checkpoint
else:
    _lightning = import_module(_PACKAGE)
    LightningModule, Trainer = _lightning.LightningModule, _lightning.Trainer
    Checkpoint = import_module(f"{_PACKAGE}.callbacks").Checkpoint


class LightningCallback(Checkpoint):
    """Reports each validation, keeps a checkpoint to go on from, and stops when told to.

    A :class:`Checkpoint`, so that Lightning calls it last: what it keeps and reports is what the
    module and all other callbacks have made of an epoch.

    Args:
        trial: That the Trainer trains.
    """

    def __init__(self, trial: UserTrial) -> None:
        self._trial = trial
        self._path = trial.checkpoint / "sweeper.ckpt"
        self._reports = Reports(
            trial, callback=_NAME, naming="self.log(...) it in validation_step"
        )
        self._validations: list[dict[str, float]] = []
        self._n_planned: int | None = None
        self._is_validated = False  # and that is not yet reported
        self._was_asked = False  # for its checkpoint
        self._process = os.getpid()
        self._handlers: dict[int, Any] = {}

    @property
    def checkpoint(self) -> Path | None:
        """For ``trainer.fit(..., ckpt_path=...)``: where the trial goes on; None at its begin."""
        self._was_asked = True
        return self._path if self._path.exists() else None

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        """For ``Trainer(..., **...)``: the trial's device and folder, no logger, no cluster.

        Lightning would log into the working directory, and put a job of Slurm back by itself.
        """
        device = self._trial.device
        environments = import_module(f"{_PACKAGE}.plugins.environments")
        return {
            "accelerator": device.type,
            "devices": 1 if device.type == "cpu" else [device.index or 0],
            "logger": False,
            "default_root_dir": str(self._trial.checkpoint),
            "plugins": [environments.LightningEnvironment()],
        }

    @property
    def best_model_path(self) -> str:
        """What ``ckpt_path="best"`` means without a ``ModelCheckpoint``: the last one."""
        return str(self._path) if self._path.exists() else ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that the Trainer can serve the trial, and note who hears its signals."""
        if not isinstance(trainer, Trainer):
            raise TrainingError(
                f"{_NAME}: is one of {_PACKAGE}, the Trainer is one of "
                f"{type(trainer).__module__.partition('.')[0]}; import both from one of them"
            )
        if os.getpid() != self._process:
            raise TrainingError(
                f"{_NAME}: the Trainer trains in processes of its own, where no trial can be told "
                "anything; train on one device, or start the script by train.command"
            )
        require_device(
            self._trial,
            trainer.strategy.root_device,
            callback=_NAME,
            way_out="give it **callback.trainer_arguments, or run.device another value",
        )
        # Behind each ModelCheckpoint, so that "best" is the best of the first of those.
        trainer.callbacks = [*(each for each in trainer.callbacks if each is not self), self]
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a fit that would begin anew after each stop."""
        if not self._was_asked:
            raise TrainingError(
                f"{_NAME}: trainer.fit must be given ckpt_path=callback.checkpoint, or it begins "
                'anew after each stop; with weights to begin with, callback.checkpoint or "..."'
            )

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take back the signals, which Lightning has taken a moment before."""
        self._hear_signals()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell how many validations there will be, and those that were before a restart."""
        self._hear_signals()
        self._n_planned = count_validations(trainer)
        self._tell()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell them also where nothing was left to train."""
        self._tell()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop between two updates if told to; before a validation it waits for its end."""
        if not self._trial.is_stopping():
            return
        is_updated = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if is_updated and not _may_be_validated(trainer, batch_idx):
            self._stop(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report it, unless the epoch ends with it, which has more to measure then."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self._is_validated = True
        if not trainer.is_last_batch:
            self._report(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the validation at its end, or the epoch itself if nothing is validated."""
        if self._is_validated or not trainer.enable_validation:
            self._report(trainer)
        elif self._trial.is_stopping():
            self._stop(trainer)
        else:
            self._save(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep what was measured: it may not have been told when the process dies."""
        checkpoint[_STATE] = {"validations": self._validations, "n_planned": self._n_planned}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take it from a checkpoint of this trial, never from one that it only begins with."""
        is_ours = self._path.parent.resolve() in Path(trainer.ckpt_path or "").resolve().parents
        if trainer.state.fn == "fit" and is_ours and _STATE in checkpoint:
            self._validations = checkpoint[_STATE]["validations"]
            self._n_planned = checkpoint[_STATE]["n_planned"]

    def _tell(self) -> None:
        self._reports.plan(self._n_planned)
        self._reports.tell(self._validations)

    def _report(self, trainer: Trainer) -> None:
        self._is_validated = False
        self._validations.append(numbers_of(trainer.callback_metrics))
        self._save(trainer)
        self._tell()

    def _stop(self, trainer: Trainer) -> None:
        self._save(trainer)
        raise TrialInterrupted(
            f"stopped in epoch {trainer.current_epoch + 1}, after {trainer.global_step} updates"
        )

    def _save(self, trainer: Trainer) -> None:
        with (
            durable(Step.CHECKPOINT_RENAME),
            replace_file(self._path) as aside,
            durable(Step.CHECKPOINT),
        ):
            trainer.save_checkpoint(aside, weights_only=False)

    def _hear_signals(self) -> None:
        """Lightning would end the process by itself, or put its job back, beside sweeper."""
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                signal.signal(number, handler)


def _may_be_validated(trainer: Trainer, batch_idx: int) -> bool:
    """Whether a validation may follow this batch; a checkpoint before it would leave it out."""
    every = trainer.val_check_batch  # infinite: after the last one; None: by the clock
    if trainer.check_val_every_n_epoch is None:
        batch_idx = trainer.fit_loop.total_batch_idx
    return trainer.is_last_batch or bool(every and (batch_idx + 1) % every == 0)


def count_validations(trainer: Trainer) -> int | None:
    """How many there will be if nothing ends training early; None if that cannot be known.

    Where nothing is validated, that is the number of epochs.
    """
    n_batches, every = trainer.num_training_batches, trainer.val_check_batch
    n_epochs, n_more = _count_epochs(trainer)
    if n_epochs == inf:
        return None
    if not trainer.enable_validation:
        return int(n_epochs) + bool(n_more)
    if every is None or (n_batches == inf and every != inf):
        return None
    if trainer.check_val_every_n_epoch is None:
        return int((n_epochs * n_batches + n_more) // every)
    n_each = 1 if every == inf else n_batches // every
    n_last = n_more // every if (n_epochs + 1) % trainer.check_val_every_n_epoch == 0 else 0
    return int(n_epochs // trainer.check_val_every_n_epoch * n_each + n_last)


def _count_epochs(trainer: Trainer) -> tuple[float, int]:
    """Whole epochs, and batches of one more, which ``max_steps`` breaks off."""
    n_epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else inf
    n_batches, n_each = trainer.num_training_batches, trainer.accumulate_grad_batches
    if trainer.max_steps > 0 and n_batches < inf:
        n_whole, n_updates = divmod(trainer.max_steps, ceil(n_batches / n_each))
        if n_whole < n_epochs:
            return n_whole, n_updates * n_each
    return n_epochs, 0
