"""The losses of :mod:`~sweeper.training.losses`, of each sample of every member."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from sweeper.training.losses import (
    ELEMENTWISE,
    BinaryCrossEntropy,
    CrossEntropy,
    ElementwiseLoss,
    Loss,
    ScaledLoss,
)

#: Outputs float [K, B, n_outputs] and targets [K, B, ...] -> [K, B].
PackedLoss = Callable[[Tensor, Tensor], Tensor]


def pack_losses(losses: Sequence[Loss], like: Tensor) -> PackedLoss:
    """The loss of each sample by the loss of its member; a member's loss is their mean.

    Args:
        losses: Of the members: built in, alike but for smoothing and weights of classes.
        like: Of the dtype and on the device of outputs.
    """
    first = losses[0]
    if isinstance(first, ScaledLoss):
        assert isinstance(first.loss, ElementwiseLoss)
        return partial(_elementwise, first, first.loss.name)
    entropies = [loss for loss in losses if isinstance(loss, CrossEntropy | BinaryCrossEntropy)]
    assert len(entropies) == len(losses)
    smoothing = None
    if any(loss.smoothing for loss in entropies):
        smoothing = like.new_tensor([loss.smoothing for loss in entropies])[:, None]
    weights = _weights([loss.weights for loss in entropies], like)
    if isinstance(first, CrossEntropy):
        return partial(_cross_entropy, smoothing, weights)
    return partial(_binary_cross_entropy, smoothing, weights)


def _weights(weights: Sequence[Tensor | None], like: Tensor) -> Tensor | None:
    """[K, 1, n_outputs], 1 where a member has none; None if all have none."""
    known = next((each for each in weights if each is not None), None)
    if known is None:
        return None
    rows = [torch.ones_like(known) if each is None else each for each in weights]
    return torch.stack(rows)[:, None].to(like)


def _cross_entropy(
    smoothing: Tensor | None, weights: Tensor | None, outputs: Tensor, targets: Tensor
) -> Tensor:
    surprise = -F.log_softmax(outputs, -1)
    if weights is not None:
        surprise = surprise * weights
    if targets.is_floating_point():
        loss = (surprise * targets).sum(-1)
    else:
        loss = surprise.gather(-1, targets[..., None])[..., 0]
    return loss if smoothing is None else torch.lerp(loss, surprise.mean(-1), smoothing)


def _binary_cross_entropy(
    smoothing: Tensor | None, weights: Tensor | None, outputs: Tensor, targets: Tensor
) -> Tensor:
    wanted = targets.to(outputs.dtype)
    if smoothing is not None:
        share = smoothing[..., None]
        wanted = wanted * (1 - share) + share / 2
    return F.binary_cross_entropy_with_logits(
        outputs, wanted, pos_weight=weights, reduction="none"
    ).mean(-1)


def _elementwise(scaled: ScaledLoss, name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    return ELEMENTWISE[name](outputs, scaled.scaled(targets), reduction="none").mean(-1)
