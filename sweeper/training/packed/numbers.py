"""What members do not have alike in an update."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sweeper.training.optim import BETAS, Optimizer, RmsProp, Sgd
from sweeper.training.packed.member import Member

#: Fields of :class:`Numbers`, the corrections as two.
N_NUMBERS = 9


@dataclass(frozen=True)
class Uses:
    """Which of the :class:`Numbers` some member has."""

    decays: bool
    l1: bool
    clips: bool
    shares: bool
    news: bool


@dataclass(frozen=True)
class Numbers:
    """Of one update of each member, all [K, 1]; None where no member has any.

    Attributes:
        rates: Learning rates.
        momenta: Of sgd and rmsprop.
        corrections: Of adam and adamw: what part of both means there is after the first updates.
        decays: Weight decays.
        l1: Weights of the L1 penalties.
        clips: Largest norms of the gradient.
        shares: One over the samples of the batches of the update.
        news: What part of the averages the update takes in.
    """

    rates: Tensor
    momenta: Tensor
    corrections: tuple[Tensor, Tensor]
    decays: Tensor | None
    l1: Tensor | None
    clips: Tensor | None
    shares: Tensor | None
    news: Tensor | None


def uses_of(members: Sequence[Member]) -> Uses:
    """Which of the numbers some of them has."""
    learners = [member.alone for member in members]
    return Uses(
        decays=any(_decay_of(member) for member in members),
        l1=any(learner.l1 for learner in learners),
        clips=any(learner.clip_grad_norm is not None for learner in learners),
        shares=any(learner.accumulate > 1 for learner in learners),
        news=any(learner.average is not None for learner in learners),
    )


def table_of(members: Sequence[Member], n_updates: int = 1) -> Tensor:
    """The numbers of the updates that come, float64 [n_updates, 9, K, 1] on the CPU.

    Args:
        members: Before these updates are counted.
        n_updates: >= 1; of members that add up the gradients of several batches only 1.
    """
    # By NumPy: of so few numbers an operation of torch takes several times as long.
    table = np.empty((n_updates, N_NUMBERS, len(members)))
    learners = [member.alone for member in members]
    steps = np.array([learner.steps for learner in learners], dtype=np.float64)
    counts = steps + np.arange(1, n_updates + 1)[:, None]
    table[:, 0] = np.array([member.rates[:n_updates] for member in members]).T
    table[:, 1] = [_momentum_of(member) for member in members]
    for column, beta in enumerate(BETAS, start=2):
        table[:, column] = 1 - beta**counts
    table[:, 4] = [_decay_of(member) for member in members]
    table[:, 5] = [learner.l1 for learner in learners]
    clips = [learner.clip_grad_norm for learner in learners]
    table[:, 6] = [math.inf if clip is None else clip for clip in clips]
    table[:, 7] = [_share_of(member) for member in members]
    table[:, 8] = np.array([_news_of(member, n_updates) for member in members]).T
    return torch.from_numpy(table)[..., None]


def numbers_from(table: Tensor, uses: Uses) -> Numbers:
    """One update's part of a table [9, K, 1], of the dtype and on the device of the parameters."""
    rate, momentum, first, second, decay, l1, clip, share, new = table.unbind()
    return Numbers(
        rates=rate,
        momenta=momentum,
        corrections=(first, second),
        decays=decay if uses.decays else None,
        l1=l1 if uses.l1 else None,
        clips=clip if uses.clips else None,
        shares=share if uses.shares else None,
        news=new if uses.news else None,
    )


def _momentum_of(member: Member) -> float:
    rule = _optimizer_of(member).rule
    return rule.momentum if isinstance(rule, Sgd | RmsProp) else 0.0


def _decay_of(member: Member) -> float:
    return _optimizer_of(member).decay


def _optimizer_of(member: Member) -> Optimizer:
    assert isinstance(member.alone.optimizer, Optimizer)
    return member.alone.optimizer


def _share_of(member: Member) -> float:
    learner = member.alone
    return 1.0 if learner.accumulate == 1 else 1 / learner.pending.n_samples


def _news_of(member: Member, n_updates: int) -> list[float]:
    """Of each update that comes."""
    average, steps = member.alone.average, member.alone.steps
    if average is None:
        return [0.0] * n_updates
    return [1 - average.decay_at(steps + n) for n in range(1, n_updates + 1)]
