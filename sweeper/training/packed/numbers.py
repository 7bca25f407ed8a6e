"""What members do not have alike in an update."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sweeper.training.optim import BETAS, Optimizer, RmsProp, Sgd
from sweeper.training.packed.member import Member


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


def numbers_of(members: Sequence[Member], like: Tensor) -> Numbers:
    """Of the update that comes, by one copy to the device.

    Args:
        members: Before that update is counted.
        like: Of the dtype and on the device of the parameters.
    """
    columns = list(zip(*map(_row, members), strict=True))
    table = torch.tensor(columns, dtype=torch.float64).to(like)[..., None]
    rate, momentum, first, second, decay, l1, clip, share, new = table.unbind()
    return Numbers(
        rates=rate,
        momenta=momentum,
        corrections=(first, second),
        decays=decay if any(columns[4]) else None,
        l1=l1 if any(columns[5]) else None,
        clips=clip if min(columns[6]) < math.inf else None,
        shares=share if min(columns[7]) < 1 else None,
        news=new if any(columns[8]) else None,
    )


def _row(member: Member) -> tuple[float, ...]:
    learner = member.alone
    assert isinstance(learner.optimizer, Optimizer)
    rule, n_updates = learner.optimizer.rule, learner.steps + 1
    clip, average = learner.clip_grad_norm, learner.average
    return (
        member.rate,
        rule.momentum if isinstance(rule, Sgd | RmsProp) else 0.0,
        *(1 - beta**n_updates for beta in BETAS),
        learner.optimizer.decay,
        learner.l1,
        math.inf if clip is None else clip,
        1.0 if learner.accumulate == 1 else 1 / learner.pending.n_samples,
        0.0 if average is None else 1 - average.decay_at(n_updates),
    )
