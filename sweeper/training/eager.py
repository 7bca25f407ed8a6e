"""A model that is trained operator by operator, as torch does it by itself."""

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.errors import TrainingError
from sweeper.training.augmentation import Augment
from sweeper.training.average import WeightAverage
from sweeper.training.learner import Batches, EpochTotals, Runtime
from sweeper.training.losses import Loss
from sweeper.training.metrics import Evaluation, Metrics
from sweeper.training.optim import (
    Optimizer,
    add_l1_subgradient,
    l1_penalty,
    split_parameters,
)
from sweeper.training.own_optimizer import OwnOptimizer
from sweeper.training.schedules import Rates


@dataclass
class Pending:
    """Batches whose gradients no update has used yet.

    Attributes:
        n_batches: So many.
        n_samples: Of them.
    """

    n_batches: int = 0
    n_samples: int = 0


class EagerLearner:
    """Does what a batch asks for at once; see :class:`~sweeper.training.learner.Learner`.

    Args:
        model: On ``runtime.device``; its parameters are those that ``optimizer`` updates.
        optimizer: Built for this model.
        loss: What is minimised, but for penalties.
        metrics: Makes what a pass over the validation rows measures beside the loss.
        schedule: Learning rate of each update.
        runtime: Device and precision.
        augment: What is done to each batch that is trained on; None for nothing.
        l1: Weight of the L1 penalty on the weights, >= 0.
        clip_grad_norm: Largest L2 norm of the gradient, penalty included; None for no limit.
        accumulate: Batches whose gradients make an update, >= 1.
        ema: Decay of the average of the weights that is measured and kept in place of the weights,
            see :class:`~sweeper.training.average.WeightAverage`; 0 for none.

    Attributes:
        average: Of the weights; None for none.
        parameters: That are trained, weights before biases and norms.
        pending: Of the update that comes.
        steps: Updates done.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | OwnOptimizer,
        *,
        loss: Loss,
        metrics: Callable[[], Metrics],
        schedule: Rates,
        runtime: Runtime,
        augment: Augment | None = None,
        l1: float = 0.0,
        clip_grad_norm: float | None = None,
        accumulate: int = 1,
        ema: float = 0.0,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.metrics = metrics
        self.schedule = schedule
        self.runtime = runtime
        self.augment = augment
        self.l1 = l1
        self.clip_grad_norm = clip_grad_norm
        self.accumulate = accumulate
        self.average = WeightAverage(model, ema) if ema else None
        self.pending = Pending()
        self._weights, others = split_parameters(model)
        self.parameters = self._weights + others
        self.steps = 0
        self._is_training = False
        self._evaluation: Evaluation | None = None
        self._measured = ExitStack()  # while it is open, the model is what is measured
        self.totals = EpochTotals()
        runtime.set_float32()

    @property
    def totals(self) -> EpochTotals:
        """See :class:`~sweeper.training.learner.Learner`."""
        return self._totals

    @totals.setter
    def totals(self, totals: EpochTotals) -> None:
        self._totals = replace(totals, loss=totals.loss.to(self.runtime.device))

    @property
    def learning_rate(self) -> float:
        """See :class:`~sweeper.training.learner.Learner`."""
        return self.schedule.rate_at(max(0, self.steps - 1))

    @property
    def stride(self) -> int:
        """See :class:`~sweeper.training.learner.Learner`."""
        return 1

    def train(self, batches: Batches) -> None:
        """See :class:`~sweeper.training.learner.Learner`; it takes any number."""
        for inputs, targets in batches:
            self._train_batch(inputs, targets)

    def _train_batch(self, inputs: Tensor, targets: Tensor) -> None:
        if not self._is_training:
            self.model.train()
            self._is_training = True
        totals = self._totals
        totals.loss.add_(self._add_gradients(inputs, targets), alpha=len(targets))
        totals.n_samples += len(targets)
        totals.n_batches += 1
        if self.pending.n_batches == self.accumulate:
            self._update()

    def end_training(self) -> float:
        """See :class:`~sweeper.training.learner.Learner`."""
        if self.pending.n_batches:
            self._update()
        totals = self._totals
        if not totals.n_samples:
            raise ValueError("an epoch needs at least one batch")
        mean = totals.loss / totals.n_samples
        if self.l1:
            mean += l1_penalty(self._weights, self.l1)
        return mean.item()

    def _add_gradients(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Add a batch to the update that comes; its loss before that, float32 []."""
        if self.augment is not None:
            inputs, targets = self.augment(inputs, targets)
        if not self.pending.n_batches:
            self.optimizer.zero_grad()
        loss = self.loss(self.outputs(inputs), targets, "mean")
        # Of several batches, sums over samples are added, as one of them may be shorter.
        total = loss if self.accumulate == 1 else loss * len(inputs)
        total.backward()  # type: ignore[no-untyped-call]
        self.pending.n_batches += 1
        self.pending.n_samples += len(inputs)
        return loss.detach()

    def _update(self) -> None:
        """Do one update by the gradients of the batches that are pending."""
        if self.accumulate > 1:
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            torch._foreach_mul_(gradients, 1 / self.pending.n_samples)
        self.pending = Pending()
        if self.l1:
            add_l1_subgradient(self._weights, self.l1)
        if self.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_grad_norm, foreach=True)
        self.optimizer.step(self.schedule.rate_at(self.steps))
        self.steps += 1
        if self.average is not None:
            self.average.update(self.steps)

    @torch.no_grad()
    def evaluate(self, batches: Batches) -> None:
        """See :class:`~sweeper.training.learner.Learner`; it takes any number."""
        for inputs, targets in batches:
            self._evaluate_batch(inputs, targets)

    def _evaluate_batch(self, inputs: Tensor, targets: Tensor) -> None:
        if self._evaluation is None:
            self.model.eval()
            self._is_training = False
            self._measured.enter_context(self.averaged())
            loss = torch.zeros((), device=self.runtime.device)
            self._evaluation = Evaluation(self.metrics(), loss)
        outputs = self.outputs(inputs)
        self._evaluation.add(outputs, targets, self.loss(outputs, targets, "sum"))

    @torch.no_grad()
    def end_evaluation(self) -> tuple[float, Mapping[str, float]]:
        """See :class:`~sweeper.training.learner.Learner`."""
        done = self._evaluation
        if done is None:
            raise ValueError("an evaluation needs at least one batch")
        self._give_up_evaluation()
        return done.result()

    def _give_up_evaluation(self) -> None:
        """Let the model be what is trained."""
        self._evaluation = None
        self._measured.close()

    def weights(self) -> dict[str, Any]:
        """See :class:`~sweeper.training.learner.Learner`."""
        with self.averaged():
            return {name: copied(value) for name, value in self.model.state_dict().items()}

    def averaged(self) -> AbstractContextManager[None]:
        """Let the model be what is measured and kept within a ``with`` block."""
        return nullcontext() if self.average is None else self.average.applied()

    def state_dict(self) -> dict[str, Any]:
        """See :class:`~sweeper.training.learner.Learner`.

        The schedule is a function of the number of updates. There is no gradient scaler: bf16 has
        the exponents of fp32, and fp16 is not on offer.
        """
        self._give_up_evaluation()
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
        }
        if self.average is not None:
            state["average"] = self.average.state()
        if self.pending.n_batches:
            gradients = [parameter.grad for parameter in self.parameters]
            state["pending"] = {**vars(self.pending), "gradients": gradients}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :class:`~sweeper.training.learner.Learner`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        if self.average is not None:
            self.average.restore(state["average"])
        if "pending" in state:
            pending = dict(state["pending"])
            for parameter, gradient in zip(self.parameters, pending.pop("gradients"), strict=True):
                if gradient is not None:
                    parameter.grad = gradient.to(parameter.device, copy=True)
            self.pending = Pending(**pending)

    def outputs(self, inputs: Tensor) -> Tensor:
        """What the model makes of inputs, float [B, n_outputs].

        Raises:
            TrainingError: If it is something else than a tensor.
        """
        if self.runtime.precision != "bf16":
            return self._checked(self.model(inputs))
        with torch.autocast(self.runtime.device.type, dtype=torch.bfloat16):
            outputs = self._checked(self.model(inputs))
        return outputs.float()

    def _checked(self, outputs: object) -> Tensor:
        """What the model returned: in training it may be something else than in eval mode."""
        if not isinstance(outputs, Tensor):
            raise TrainingError(
                f"model.architecture: {type(self.model).__name__} must return outputs [B, "
                f"n_outputs], got {type(outputs).__name__}"
                + (" while training" if self.model.training else "")
            )
        return outputs


def copied(value: Any) -> Any:
    """A copy on the CPU of whatever a state holds."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(copied, value))
    return copy.deepcopy(value)
