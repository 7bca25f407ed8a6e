"""What a batch of each of several members comes to, before any of them changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sweeper.training.packed.losses import PackedLoss
from sweeper.training.packed.member import Work
from sweeper.training.packed.modules import Segment
from sweeper.training.packed.program import Program
from sweeper.training.packed.rows import Rows


@dataclass(frozen=True)
class Group:
    """Members that are computed as one, in the order of their rows.

    Attributes:
        places: Their rows, int64 [G]; None if they are all members.
        segments: Of their activations.
        loss: Of each sample.
        are_sums: Whether gradients are those of a sum over samples, as they are added to those of
            other batches, not of a mean; of each.
    """

    places: Tensor | None
    segments: Sequence[Segment]
    loss: PackedLoss
    are_sums: Sequence[bool]


@dataclass(frozen=True)
class Trained:
    """Of a batch that is trained on.

    Attributes:
        losses: Means over the samples [G].
        gradients: Of the parameters [G, N].
        others: What else the models hold, as it is after the batch: name -> [G, ...].
    """

    losses: Tensor
    gradients: Tensor
    others: Mapping[str, Tensor]


@dataclass(frozen=True)
class Measured:
    """Of a batch that is evaluated.

    Attributes:
        outputs: [G, B, n_outputs].
        losses: Sums over the samples [G].
    """

    outputs: Tensor
    losses: Tensor


def train(program: Program, rows: Rows, group: Group, works: Sequence[Work]) -> Trained:
    """Gradients of a batch of each member; nothing that the rows hold is changed."""
    values = rows.parameters.taken(group.places)
    leaves = [tensor.detach().requires_grad_() for tensor in rows.parameters.tensors(values)]
    others = _others(rows, group.places)
    calls = zip(*(work.masks or () for work in works), strict=True)
    outputs = program(
        dict(zip(rows.names, leaves, strict=True)),
        others,
        torch.stack([work.inputs for work in works]),
        [torch.stack(masks) for masks in calls],
        group.segments,
    )
    losses = group.loss(outputs, torch.stack([work.targets for work in works])).mean(1)
    n_samples = len(works[0].inputs)
    scales = [float(n_samples) if is_sum else 1.0 for is_sum in group.are_sums]
    total = (losses * losses.new_tensor(scales)).sum()
    gradients = torch.autograd.grad(total, leaves)
    flat = torch.cat([gradient.flatten(1) for gradient in gradients], 1)
    return Trained(losses.detach(), flat, others)


@torch.no_grad()
def evaluate(program: Program, rows: Rows, group: Group, works: Sequence[Work]) -> Measured:
    """What a batch of each member is measured at, by the averages where there are any."""
    parameters = rows.averages or rows.parameters
    tensors = parameters.tensors(parameters.taken(group.places))
    outputs = program(
        dict(zip(rows.names, tensors, strict=True)),
        _others(rows, group.places, are_averaged=True),
        torch.stack([work.inputs for work in works]),
        None,
        group.segments,
    )
    targets = torch.stack([work.targets for work in works])
    return Measured(outputs, group.loss(outputs, targets).sum(1))


def _others(rows: Rows, places: Tensor | None, *, are_averaged: bool = False) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for others in rows.others:
        named.update(others.taken(places, are_averaged=are_averaged))
    return named
