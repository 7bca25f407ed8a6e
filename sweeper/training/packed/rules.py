"""The update rules of :mod:`~sweeper.training.optim` on rows: a member each, with its own numbers.

Parameters, gradients and states are [K, N], weights before biases and norms.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sweeper.training.optim import (
    BETAS,
    EPSILON,
    SMOOTHING,
    TINY,
    Adam,
    RmsProp,
    Sgd,
    UpdateRule,
)
from sweeper.training.packed.numbers import Numbers


def update_rows(
    rule: UpdateRule,
    parameters: Tensor,
    gradients: Tensor,
    states: Sequence[Tensor],
    *,
    numbers: Numbers,
    n_weights: int,
) -> None:
    """Change all of them in place, as a learner alone changes its own.

    Args:
        rule: Of all members, but for its numbers.
        parameters: [K, N].
        gradients: Of the batches that are pending, [K, N].
        states: As ``rule.new_state`` has them, without counts of updates.
        numbers: Of each member.
        n_weights: Columns that are penalised, the first ones.
    """
    weights, of_weights = parameters[:, :n_weights], gradients[:, :n_weights]
    if numbers.shares is not None:
        gradients.mul_(numbers.shares)
    if numbers.l1 is not None:
        of_weights.addcmul_(weights.clamp(-TINY, TINY), numbers.l1 / TINY)
    if numbers.clips is not None:
        _clip(gradients, numbers.clips)
    if numbers.decays is not None:
        if isinstance(rule, Adam) and rule.decoupled:
            weights.mul_(1 - numbers.rates * numbers.decays)
        else:
            of_weights.addcmul_(weights, numbers.decays)
    if isinstance(rule, Sgd):
        step = _sgd(gradients, states, numbers, nesterov=rule.nesterov)
    elif isinstance(rule, Adam):
        step = _adam(gradients, states, numbers)
    else:
        assert isinstance(rule, RmsProp)
        step = _rmsprop(gradients, states, numbers)
    parameters.addcmul_(step, numbers.rates, value=-1)


def _clip(gradients: Tensor, largest: Tensor) -> None:
    """Source: as ``torch.nn.utils.clip_grad_norm_``; an infinite one is no limit."""
    norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    factors = (largest / (norms + 1e-6)).clamp(max=1.0)
    gradients.mul_(torch.where(largest.isinf(), 1.0, factors))


def _sgd(
    gradients: Tensor, states: Sequence[Tensor], numbers: Numbers, *, nesterov: bool
) -> Tensor:
    if not states:
        return gradients
    (momentum,) = states
    momentum.mul_(numbers.momenta).add_(gradients)
    return gradients.addcmul_(momentum, numbers.momenta) if nesterov else momentum


def _adam(gradients: Tensor, states: Sequence[Tensor], numbers: Numbers) -> Tensor:
    mean, square = states
    mean.lerp_(gradients, 1 - BETAS[0])
    square.mul_(BETAS[1]).addcmul_(gradients, gradients, value=1 - BETAS[1])
    first, second = numbers.corrections
    root = square.sqrt().div_(second.sqrt()).add_(EPSILON)
    return torch.div(mean, first, out=gradients).div_(root)


def _rmsprop(gradients: Tensor, states: Sequence[Tensor], numbers: Numbers) -> Tensor:
    square, momentum = states
    square.mul_(SMOOTHING).addcmul_(gradients, gradients, value=1 - SMOOTHING)
    root = square.sqrt().add_(EPSILON)
    return momentum.mul_(numbers.momenta).addcdiv_(gradients, root)
