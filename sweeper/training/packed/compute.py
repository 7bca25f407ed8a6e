"""What a batch of each of several members comes to, before any of them changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from sweeper.models.dropout import Key, drawing_by
from sweeper.training.eager import EagerLearner
from sweeper.training.packed.losses import PackedLoss
from sweeper.training.packed.modules import Segment
from sweeper.training.packed.numbers import Uses
from sweeper.training.packed.program import Program
from sweeper.training.packed.rows import Rows
from sweeper.training.packed.work import BatchWork


@dataclass(frozen=True)
class Group:
    """Members that are computed as one, in the order of their rows.

    Attributes:
        places: Their rows, int64 [G]; None if they are all members.
        segments: Of their activations.
        loss: Of each sample.
        are_sums: Whether gradients are those of a sum over samples, as they are added to those of
            other batches, not of a mean; of each.
        uses: Which numbers their updates need.
    """

    places: Tensor | None
    segments: Sequence[Segment]
    loss: PackedLoss
    are_sums: Sequence[bool]
    uses: Uses


@dataclass(frozen=True)
class GroupBatch:
    """A batch of each member of a group.

    Attributes:
        inputs: [G, B, ...].
        targets: [G, B, ...].
        masks: Of the dropouts in the order of their calls, each [G, B, ...]; empty if they draw
            by themselves, or in evaluation.
        keys: By which they draw, int64 [G]; None if torch's generator does.
    """

    inputs: Tensor
    targets: Tensor
    masks: Sequence[Tensor] = ()
    keys: Tensor | None = None


@dataclass(frozen=True)
class Trained:
    """Of a batch that is trained on.

    Attributes:
        losses: Means over the samples [G].
        gradients: Of the parameters [G, N].
        others: What else the models hold, as it is after the batch: name -> [G, ...]; empty if it
            has changed already.
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


@dataclass(frozen=True)
class Outputs:
    """Of a batch that is trained on, for its gradients.

    Attributes:
        values: [G, B, n_outputs].
        leaves: The parameters that they depend on, of all members, in the order of the rows.
        others: As of :class:`Trained`.
    """

    values: Tensor
    leaves: Sequence[Tensor]
    others: Mapping[str, Tensor]


class UnusedParameterError(Exception):
    """No output depends on a parameter, which an update leaves as it is then."""


class BackwardError(RuntimeError):
    """The gradients of an only member cannot be had, at least not apart from its parameters."""


class Forward(Protocol):
    """Computes the outputs of the members of a group.

    Attributes:
        has_masks: Whether it is given what members draw; else their models draw when called.
    """

    has_masks: bool

    @property
    def model(self) -> nn.Module:
        """That it calls."""
        ...

    def train(self, rows: Rows, group: Group, batch: GroupBatch) -> Outputs:
        """Of a batch to train on; nothing that the rows hold is changed."""
        ...

    def evaluate(self, rows: Rows, group: Group, batch: GroupBatch) -> Tensor:
        """Of a batch to measure [G, B, n_outputs], by the averages where there are any."""
        ...


class ForwardOfMany:
    """By one program for all of them; see :class:`Forward`.

    Args:
        program: Of their models.
    """

    has_masks = True

    def __init__(self, program: Program) -> None:
        self._program = program

    @property
    def model(self) -> nn.Module:
        """See :class:`Forward`."""
        return self._program.template

    def train(self, rows: Rows, group: Group, batch: GroupBatch) -> Outputs:
        """See :class:`Forward`."""
        values = rows.parameters.taken(group.places)
        leaves = [tensor.detach().requires_grad_() for tensor in rows.parameters.tensors(values)]
        others = _others(rows, group.places)
        named = dict(zip(rows.names, leaves, strict=True))
        outputs = self._program(named, others, batch.inputs, batch.masks, group.segments)
        return Outputs(outputs, leaves, others)

    def evaluate(self, rows: Rows, group: Group, batch: GroupBatch) -> Tensor:
        """See :class:`Forward`."""
        parameters = rows.averages or rows.parameters
        tensors = parameters.tensors(parameters.taken(group.places))
        named = dict(zip(rows.names, tensors, strict=True))
        others = _others(rows, group.places, are_averaged=True)
        return self._program(named, others, batch.inputs, None, group.segments)


class ForwardOfOne:
    """By the model of the only member, which draws by itself; see :class:`Forward`.

    Its buffers change as it is called.

    Args:
        alone: The member's own.
    """

    has_masks = False

    def __init__(self, alone: EagerLearner) -> None:
        self._alone = alone

    @property
    def model(self) -> nn.Module:
        """See :class:`Forward`."""
        return self._alone.model

    def train(self, rows: Rows, group: Group, batch: GroupBatch) -> Outputs:
        """See :class:`Forward`."""
        self._alone.model.train()
        with drawing_by(None if batch.keys is None else Key(batch.keys[0])):
            outputs = self._alone.outputs(batch.inputs[0])
        return Outputs(outputs[None], self._alone.parameters, {})

    def evaluate(self, rows: Rows, group: Group, batch: GroupBatch) -> Tensor:
        """See :class:`Forward`."""
        self._alone.model.eval()
        with self._alone.averaged():
            return self._alone.outputs(batch.inputs[0])[None]


def stacked(works: Sequence[BatchWork]) -> GroupBatch:
    """A batch of each, of one form."""
    masks = zip(*(work.masks or () for work in works), strict=True)
    return GroupBatch(
        torch.stack([work.inputs for work in works]),
        torch.stack([work.targets for work in works]),
        [torch.stack(of_members) for of_members in masks],
    )


def train(forward: Forward, rows: Rows, group: Group, batch: GroupBatch) -> Trained:
    """Gradients of a batch of each member.

    Raises:
        UnusedParameterError: If some parameter has none.
        BackwardError: If a model by itself does not give them so.
    """
    outputs = forward.train(rows, group, batch)
    losses = group.loss(outputs.values, batch.targets).mean(1)
    total = losses
    if any(group.are_sums):
        n_samples = float(batch.inputs.shape[1])
        total = losses * losses.new_tensor([n_samples if s else 1.0 for s in group.are_sums])
    try:
        found = torch.autograd.grad(total.sum(), outputs.leaves, allow_unused=True)
    except RuntimeError as exc:
        if forward.has_masks or isinstance(exc, torch.OutOfMemoryError):
            raise
        raise BackwardError(str(exc)) from exc
    gradients = [gradient for gradient in found if gradient is not None]
    if len(gradients) < len(found):
        raise UnusedParameterError("not all of its parameters are used in each batch")
    flat = torch.cat([gradient.reshape(len(losses), -1) for gradient in gradients], 1)
    return Trained(losses.detach(), flat, outputs.others)


@torch.no_grad()
def evaluate(forward: Forward, rows: Rows, group: Group, batch: GroupBatch) -> Measured:
    """What a batch of each member is measured at."""
    outputs = forward.evaluate(rows, group, batch)
    return Measured(outputs, group.loss(outputs, batch.targets).sum(1))


def _others(rows: Rows, places: Tensor | None, *, are_averaged: bool = False) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for others in rows.others:
        named.update(others.taken(places, are_averaged=are_averaged))
    return named
