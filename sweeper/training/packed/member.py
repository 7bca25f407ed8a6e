"""A trial's learner that has its batches done together with those of others."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from sweeper.training.eager import EagerLearner, Pending, copied
from sweeper.training.learner import Batches, EpochTotals
from sweeper.training.metrics import Evaluation
from sweeper.training.packed.program import Draws
from sweeper.training.packed.work import BatchWork, RowsWork, Work
from sweeper.training.stretch import Stretch


class Member:
    """A :class:`~sweeper.training.learner.Learner` whose tensors are rows of a pack.

    The pack is to do what it was given before another of its methods is called.

    It holds the learner that the trial alone would have, whose model, optimiser and average see
    what is computed on the rows. So it ends an epoch, saves and goes on as that one does.

    Args:
        alone: With built-in loss and optimiser, at any point of its training.
        name: By which others know it.
        stride: Tells how many batches at most it takes at once as rows of a table; None if it
            takes one at a time.
        wait: Waits until the device has done what the pack was told.

    Attributes:
        gradients: Of ``alone.parameters``.
        rates: Learning rates of the updates that come of ``work``.
        work: What it was given and is not done yet.
        error: What came of its work, raised by the next call of a method.
        evaluation: What the pass under way has measured; None if there is none.
        most: Members, itself included, that one call has computed at once with it, at most.
        draws: Of its dropouts.
    """

    def __init__(
        self,
        alone: EagerLearner,
        name: Hashable,
        *,
        stride: Callable[[], int] | None = None,
        wait: Callable[[], None] = lambda: None,
    ) -> None:
        self.alone = alone
        self.name = name
        self.gradients = [_gradient_of(parameter) for parameter in alone.parameters]
        self.rates: list[float] = []
        self.work: Work | None = None
        self.error: BaseException | None = None
        self.evaluation: Evaluation | None = None
        self.most = 1
        self.draws = Draws(alone.model, alone.runtime)
        self._stride = stride
        self._wait = wait

    @property
    def totals(self) -> EpochTotals:
        """See :class:`~sweeper.training.learner.Learner`."""
        self._settle()
        return self.alone.totals

    @totals.setter
    def totals(self, totals: EpochTotals) -> None:
        self._settle()
        self.alone.totals = totals

    @property
    def learning_rate(self) -> float:
        """See :class:`~sweeper.training.learner.Learner`."""
        self._settle()
        return self.alone.learning_rate

    @property
    def stride(self) -> int:
        """See :class:`~sweeper.training.learner.Learner`."""
        return 1 if self._stride is None else self._stride()

    def train(self, batches: Batches) -> None:
        """See :class:`~sweeper.training.learner.Learner`."""
        self._require_done()
        steps, rate_at = self.alone.steps, self.alone.schedule.rate_at
        if self._takes_rows(batches):
            self.rates = [rate_at(steps + n) for n in range(batches.n_left)]
            self.work = RowsWork(batches, is_training=True)
            return
        [(inputs, targets)] = batches
        if self.alone.augment is not None:
            inputs, targets = self.alone.augment(inputs, targets)
        self.rates = [rate_at(steps)]
        self.work = BatchWork(inputs, targets, self.draws.masks(inputs))

    def _takes_rows(self, batches: Batches) -> TypeGuard[Stretch]:
        has_rows = isinstance(batches, Stretch) and batches.table is not None
        return has_rows and self._stride is not None

    def end_training(self) -> float:
        """See :class:`~sweeper.training.learner.Learner`."""
        self._settle()
        return self.alone.end_training()

    def evaluate(self, batches: Batches) -> None:
        """See :class:`~sweeper.training.learner.Learner`."""
        self._require_done()
        if self.evaluation is None:
            loss = torch.zeros((), device=self.alone.runtime.device)
            self.evaluation = Evaluation(self.alone.metrics(), loss)
        if self._takes_rows(batches):
            self.work = RowsWork(batches, is_training=False)
            return
        [(inputs, targets)] = batches
        self.work = BatchWork(inputs, targets)

    def end_evaluation(self) -> tuple[float, Mapping[str, float]]:
        """See :class:`~sweeper.training.learner.Learner`."""
        self._settle()
        done, self.evaluation = self.evaluation, None
        if done is None:
            raise ValueError("an evaluation needs at least one batch")
        return done.result()

    def weights(self) -> dict[str, Any]:
        """See :class:`~sweeper.training.learner.Learner`."""
        self._settle()
        return self.alone.weights()

    def state_dict(self) -> dict[str, Any]:
        """See :class:`~sweeper.training.learner.Learner`; a copy on the CPU.

        A file would hold for each row the whole pack.
        """
        self._settle()
        self.evaluation = None
        state: dict[str, Any] = copied(self.alone.state_dict())
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :class:`~sweeper.training.learner.Learner`."""
        self._settle()
        self.alone.load_state_dict(state)
        for parameter, own in zip(self.alone.parameters, self.gradients, strict=True):
            if parameter.grad is not None and parameter.grad is not own:
                own.copy_(parameter.grad)
            parameter.grad = own

    def train_alone(self) -> None:
        """Train on what is left of the rows that it was given, by its own model and optimiser."""
        assert isinstance(self.work, RowsWork)
        self.alone.model.train()  # it may have been measured by the pack
        self.alone.train(self.work.batches())

    @property
    def is_due(self) -> bool:
        """Whether its update is whole."""
        return self.alone.pending.n_batches == self.alone.accumulate

    def count_batch(self, n_samples: int) -> None:
        """A batch is trained on, and its update is not done yet."""
        for counted in (self.alone.totals, self.alone.pending):
            counted.n_samples += n_samples
            counted.n_batches += 1

    def count_update(self) -> None:
        """The update is done of all batches that are trained on."""
        self.alone.steps += 1
        self.alone.pending = Pending()

    def count_updates(self, n_updates: int, n_samples: int) -> None:
        """Updates are done, each of one batch of so many samples."""
        self.alone.steps += n_updates
        self.alone.totals.n_batches += n_updates
        self.alone.totals.n_samples += n_updates * n_samples
        del self.rates[:n_updates]

    def _settle(self) -> None:
        """Wait until all is done, and raise what came of it."""
        self._require_done()
        self._wait()

    def _require_done(self) -> None:
        assert self.work is None, "its pack has not done what it was given"
        if self.error is not None:
            raise self.error


def _gradient_of(parameter: nn.Parameter) -> Tensor:
    """The tensor in which its gradient stays from now on."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
