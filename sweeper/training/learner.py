"""A trial's model in training, batch by batch: what the loop over epochs knows of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from sweeper.config.settings import Precision
from sweeper.data.batches import Batch

#: Of one pass, in their order; a :class:`~sweeper.training.stretch.Stretch` of them says more.
Batches = Iterable[Batch]


@dataclass(frozen=True)
class Runtime:
    """Where a trial computes, and with which numbers."""

    device: torch.device
    precision: Precision = "fp32"

    def set_float32(self) -> None:
        """Have products of float32 on a GPU computed in tf32 or not, in the whole process.

        Left alone, torch takes tf32 for convolutions and float32 for matrices.
        """
        if self.device.type == "cuda":
            # torch's older switches: code that reads them after the newer ones were set fails.
            torch.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
            torch.backends.cudnn.allow_tf32 = self.precision == "tf32"


@dataclass
class EpochTotals:
    """How far one epoch of training has come; after every batch it can go on from here.

    Attributes:
        loss: Summed over the samples, float32 [].
        n_samples: Of the batches done.
        n_batches: Batches done.
    """

    loss: Tensor = field(default_factory=lambda: torch.zeros(()))
    n_samples: int = 0
    n_batches: int = 0


class Learner(Protocol):
    """A model in training. Nothing but the end of a pass waits for the device.

    What batches ask for may be done after the call, with what others were given, but before the
    next call of any method. Then they are at most :attr:`stride`. What a batch draws comes from
    torch's default generators, once they are seeded for it.
    """

    @property
    def totals(self) -> EpochTotals:
        """Of the epoch under way; the first batch of another epoch comes after new ones."""
        ...

    @totals.setter
    def totals(self, totals: EpochTotals) -> None: ...

    @property
    def learning_rate(self) -> float:
        """Of the last update; of the first one before any."""
        ...

    @property
    def stride(self) -> int:
        """The most batches that it is to be given at once, >= 1."""
        ...

    def train(self, batches: Batches) -> None:
        """Train on batches: each is an update, or one of those that make an update.

        Args:
            batches: Of a :class:`~sweeper.data.batches.Split`.
        """
        ...

    def end_training(self) -> float:
        """Make an update of the batches that none has used, and measure the epoch.

        Returns:
            The loss, the mean over all samples as they are trained on, each measured before the
            update that it takes part in, plus the L1 penalty of the weights at the epoch's end:
            measuring the penalty at every update would cost a small MLP 5 % of its time.

        Raises:
            ValueError: If the epoch had no batch.
        """
        ...

    def evaluate(self, batches: Batches) -> None:
        """Measure batches without changing the model.

        Args:
            batches: As of :meth:`train`.
        """
        ...

    def end_evaluation(self) -> tuple[float, Mapping[str, float]]:
        """What was measured since the last end.

        Returns:
            The loss without penalties, the mean over all samples, and the metrics.

        Raises:
            ValueError: If there was no batch.
        """
        ...

    def weights(self) -> dict[str, Any]:
        """A copy on the CPU of the ``state_dict`` that is measured, whatever it holds."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on, except totals and random generators.

        It is the same whichever learner it comes from. An evaluation under way is given up.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state_dict` of the same model, optimiser and schedule."""
        ...


def train_epoch(learner: Learner, batches: Batches) -> float:
    """Train on batches as on a whole epoch; its loss."""
    learner.totals = EpochTotals()
    learner.train(batches)
    return learner.end_training()
