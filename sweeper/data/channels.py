"""Exact sums over the values of each channel, from which mean and standard deviation follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ChannelSums:
    """Sums over uint8 values, one entry a channel.

    Integers, so that sums over any rows are exact: those of the training rows are those of all
    rows less those of the validation rows, and every machine finds the same mean.

    Attributes:
        count: Values in each channel, > 0.
        sums: Of the values, in [0, 255 * count].
        squares: Of the squared values, in [0, 255**2 * count].
    """

    count: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]

    @classmethod
    def of(cls, inputs: NDArray[np.uint8]) -> ChannelSums:
        """Sum over uint8 [N, C, H, W]; inputs of other numbers of dimensions are one channel."""
        import numpy as np

        channels = list(inputs.swapaxes(0, 1)) if inputs.ndim == 4 else [inputs]
        values = [channel.ravel() for channel in channels]
        return cls(
            values[0].size,
            tuple(int(v.sum(dtype=np.int64)) for v in values),
            # Cast in small blocks on the way, so no copy of the data in eight bytes a value.
            tuple(int(np.einsum("i,i->", v, v, dtype=np.int64)) for v in values),
        )

    def __add__(self, other: ChannelSums) -> ChannelSums:
        return ChannelSums(
            self.count + other.count,
            tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)),
            tuple(a + b for a, b in zip(self.squares, other.squares, strict=True)),
        )

    def __sub__(self, other: ChannelSums) -> ChannelSums:
        return ChannelSums(
            self.count - other.count,
            tuple(a - b for a, b in zip(self.sums, other.sums, strict=True)),
            tuple(a - b for a, b in zip(self.squares, other.squares, strict=True)),
        )

    def mean(self) -> tuple[float, ...]:
        """Per channel, in units of [0, 1]."""
        return tuple(total / (255 * self.count) for total in self.sums)

    def std(self) -> tuple[float, ...]:
        """Per channel, in units of [0, 1], of the whole population; 1 for a constant channel."""
        scaled_variances = (
            self.count * square - total**2
            for total, square in zip(self.sums, self.squares, strict=True)
        )
        return tuple(math.sqrt(v) / (255 * self.count) if v else 1.0 for v in scaled_variances)
