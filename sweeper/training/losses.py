"""What training minimises: a loss by name or of the user's own, on the targets of a task."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sweeper.config.metrics import TASK_LOSSES
from sweeper.config.references import is_reference, load_reference
from sweeper.config.settings import TrainConfig
from sweeper.data.dataset import TrialData
from sweeper.errors import TrainingError

Reduction = Literal["mean", "sum"]
#: Of outputs and targets, by the name of the loss.
ELEMENTWISE: Mapping[str, Callable[..., Tensor]] = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
}


class Loss(Protocol):
    """Of a batch, over its samples; several outputs of a sample count as their mean."""

    def __call__(self, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
        """Compare float32 [B, n_outputs] with targets: [].

        They are those of the task, see :class:`Split`, or where samples were mixed float32
        [B, n_outputs], shares of classes or labels.
        """


def build_loss(settings: TrainConfig, data: TrialData, device: torch.device) -> Loss:
    """The loss of a trial.

    Args:
        settings: Its ``loss``, ``label_smoothing``, ``class_weights`` and ``mixup``.
        data: Whose task, classes and scale of targets count.
        device: Of outputs and targets.

    Raises:
        TrainingError: If the loss is none of the task's, or the task has no use for a setting.
        SpecError: If the user's function cannot be imported.
    """
    task, name = data.info.task, settings.loss
    own = name if name is not None and is_reference(name) else None
    if name is not None and own is None and name not in TASK_LOSSES[task]:
        raise TrainingError(
            f"train.loss: {name} is no loss of {task}, which {data.info.name} is; take "
            f"{' or '.join(TASK_LOSSES[task])}, or package.module:function"
        )
    fixed = (
        ("label_smoothing", settings.label_smoothing),
        ("class_weights", _is_balanced(settings)),
    )
    for key, is_set in fixed:
        if is_set and (task == "regression" or own):
            whom = f"the loss {own}" if own else "regression"
            raise TrainingError(f"train.{key}: {whom} does not look at it; leave it out")
    if own and settings.mixup and task != "regression":
        raise TrainingError(
            f"train.mixup: it makes shares of classes and labels, and the loss {own} takes whole "
            "ones; leave one out"
        )
    if task == "regression":
        loss = OwnLoss(own) if own else ElementwiseLoss(name or "mse")
        return ScaledLoss(loss, data.info.target_mean, data.info.target_std, device)
    if own:
        return OwnLoss(own)
    weights = _balanced(data).to(device) if _is_balanced(settings) else None
    if task == "multilabel":
        return BinaryCrossEntropy(weights, smoothing=settings.label_smoothing)
    return CrossEntropy(weights, smoothing=settings.label_smoothing)


def _is_balanced(settings: TrainConfig) -> bool:
    return settings.class_weights == "balanced"


def _balanced(data: TrialData) -> Tensor:
    """Weights by which all classes, or a label and its absence, count alike [n_outputs].

    Source: as ``class_weight="balanced"`` of scikit-learn; ``pos_weight`` of torch's
    BCEWithLogitsLoss.
    """
    counts, n_rows = data.counts.double(), data.info.n_train
    if data.info.task == "multilabel":
        return ((n_rows - counts) / counts.clamp(min=1)).float()
    return (n_rows / (len(counts) * counts.clamp(min=1))).float()


@dataclass(frozen=True)
class CrossEntropy:
    """In nats, of logits and classes.

    Attributes:
        weights: Of each class; the mean is over samples, not over weights [n_outputs].
        smoothing: Share of the target that all classes have alike, in [0, 1).
    """

    weights: Tensor | None
    smoothing: float

    def __call__(self, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
        """See :class:`Loss`."""
        if self.weights is None:
            return F.cross_entropy(
                outputs, targets, reduction=reduction, label_smoothing=self.smoothing
            )
        total = F.cross_entropy(
            outputs, targets, self.weights, reduction="sum", label_smoothing=self.smoothing
        )
        return total if reduction == "sum" else total / len(targets)


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """In nats, of a logit for each label.

    Attributes:
        weights: Of the presence of each label [n_outputs].
        smoothing: Share of the target that presence and absence have alike, in [0, 1).
    """

    weights: Tensor | None
    smoothing: float

    def __call__(self, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
        """See :class:`Loss`."""
        wanted = targets.to(outputs.dtype)
        if self.smoothing:
            wanted = wanted * (1 - self.smoothing) + self.smoothing / 2
        loss = F.binary_cross_entropy_with_logits(
            outputs, wanted, pos_weight=self.weights, reduction=reduction
        )
        return loss / outputs.shape[1] if reduction == "sum" else loss


@dataclass(frozen=True)
class ElementwiseLoss:
    """Of a number for each target.

    Attributes:
        name: ``mse``, ``mae`` or ``huber``.
    """

    name: str

    def __call__(self, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
        """See :class:`Loss`."""
        loss = ELEMENTWISE[self.name](outputs, targets, reduction=reduction)
        return loss / outputs.shape[1] if reduction == "sum" else loss


class ScaledLoss:
    """Another loss, of targets with mean 0 and standard deviation 1.

    Args:
        loss: Of outputs and such targets.
        mean: Of each target in the training rows.
        std: As ``mean``, > 0.
        device: Of outputs and targets.
    """

    def __init__(
        self, loss: Loss, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
    ) -> None:
        self.loss = loss
        self._mean = torch.tensor(mean, device=device)
        self._std = torch.tensor(std, device=device)

    def __call__(self, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
        """See :class:`Loss`."""
        return self.loss(outputs, self.scaled(targets), reduction)

    def scaled(self, targets: Tensor) -> Tensor:
        """Targets [..., n_outputs] with mean 0 and standard deviation 1."""
        return (targets - self._mean) / self._std


class OwnLoss:
    """A function of the user's own: the mean over a batch's samples, from outputs and targets.

    Raises:
        SpecError: If it cannot be imported.
    """

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._function = load_reference(reference)

    def __call__(self, outputs: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
        """See :class:`Loss`.

        Raises:
            TrainingError: If it raises, but for memory, or returns something else.
        """
        try:
            loss = self._function(outputs, targets)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as exc:
            raise TrainingError(
                f"train.loss: {self._reference} raised {type(exc).__name__}: {exc}"
            ) from exc
        if not isinstance(loss, Tensor) or math.prod(loss.shape) != 1:
            form = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise TrainingError(
                f"train.loss: {self._reference} must return the mean over the batch, a tensor of "
                f"one number, got {form}"
            )
        if outputs.requires_grad and not loss.requires_grad:
            raise TrainingError(
                f"train.loss: {self._reference} must return what follows from the outputs, got a "
                "tensor without a gradient; compute it of them by torch alone, without detach()"
            )
        loss = loss.reshape(())
        return loss * len(targets) if reduction == "sum" else loss
