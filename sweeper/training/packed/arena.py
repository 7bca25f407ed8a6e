"""The tensors of all members in rows, so that one call works on all of them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Arena:
    """Tensors of every member, flattened and laid one behind the other.

    The tensors themselves become views of their rows, so whoever holds them (a model, an
    optimiser) sees what is computed on the rows.

    Args:
        members: The tensors of each, alike in their number, shapes and dtype; their contents are
            taken over.

    Attributes:
        values: [K, N].
    """

    def __init__(self, members: Sequence[Sequence[Tensor]]) -> None:
        self._shapes = [tensor.shape for tensor in members[0]]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self.values = torch.stack([_flat(tensors) for tensors in members])
        for tensors, row in zip(members, self.values, strict=True):
            parts = torch.split(row, self._sizes)
            for tensor, part, shape in zip(tensors, parts, self._shapes, strict=True):
                tensor.data = part.view(shape)

    def tensors(self, values: Tensor) -> list[Tensor]:
        """Rows of :attr:`values` [G, N] -> views of each tensor [G, ...]."""
        parts = torch.split(values, self._sizes, 1)
        return [
            part.view(len(part), *shape) for part, shape in zip(parts, self._shapes, strict=True)
        ]

    def taken(self, rows: Tensor | None) -> Tensor:
        """Some rows, a copy; None for all, themselves."""
        return self.values if rows is None else self.values[rows]

    def put(self, rows: Tensor | None, values: Tensor) -> None:
        """Write some rows, or all."""
        if rows is not None:
            self.values[rows] = values
        elif values is not self.values:
            self.values.copy_(values)


def release(tensors: Sequence[Tensor]) -> None:
    """Give tensors that are rows of an arena memory of their own."""
    for tensor in tensors:
        tensor.data = tensor.data.clone()


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])
