"""The masks of all members' dropouts, by the keys of their batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sweeper.models.dropout import Dropout, Key, keyed_scale
from sweeper.training.packed.member import Member


@dataclass(frozen=True)
class DropoutCall:
    """One call of a dropout in a forward pass.

    Attributes:
        shape: Of what it is given by each member.
        n_dropped: Levels of a key at which a unit of each member is dropped, int64 [K, 1, ...].
        scales: What the others are multiplied by, as ``n_dropped``, of the dtype that is given.
    """

    shape: Sequence[int]
    n_dropped: Tensor
    scales: Tensor


def dropout_calls(members: Sequence[Member], sample: Tensor) -> list[DropoutCall]:
    """The dropouts of members in the order of their calls.

    Args:
        members: Of one program.
        sample: A batch of any of them, on their device.
    """
    found = []
    for calls in zip(*(member.draws.calls(sample) for member in members), strict=True):
        _, given = calls[0]
        n_dropped = [module.n_keyed for module, _ in calls if isinstance(module, Dropout)]
        form = (len(members), *[1] * given.dim())
        scales = torch.tensor([keyed_scale(n) for n in n_dropped], dtype=given.dtype)
        found.append(
            DropoutCall(
                given.shape,
                torch.tensor(n_dropped, device=sample.device).view(form),
                scales.to(sample.device).view(form),
            )
        )
    return found


def keyed_masks(calls: Sequence[DropoutCall], keys: Tensor | None) -> list[Tensor]:
    """Of each call [K, ...], each member's as it draws it by itself.

    Args:
        calls: In their order.
        keys: Of the members, int64 [K]; None only if nothing is called.
    """
    if not calls:
        return []
    assert keys is not None
    key = Key(keys[:, None])
    masks = []
    for call in calls:
        is_kept = key.levels(call.shape) >= call.n_dropped
        masks.append(is_kept.to(call.scales.dtype) * call.scales)
    return masks
