"""A convolutional network on frames, such as those of a spectrum over time."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.models.dropout import Dropout
from sweeper.models.sequence import frame_lengths, is_within


class FrameCnn(nn.Module):
    """Convolution blocks over bands and time, then the mean and the maximum over time.

    The bands that are left stay apart: what a sound is lies in where it is along them. After each
    block what lies behind the end of a sample is 0 again, so that in evaluation an answer does not
    depend on how many frames of padding follow it. In training batch normalisation counts the
    padding of its batch.

    Args:
        blocks: Layers of each, which :func:`~sweeper.models.cnn.build_cnn` makes for one channel.
        dropout: Share of the inputs of the last layer dropped while training.
        linear: The last layer: of the mean, then of the maximum, of all maps and bands.
    """

    def __init__(
        self, blocks: Iterable[Iterable[nn.Module]], dropout: float, linear: nn.Linear
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(*layers) for layers in blocks)
        self.dropout = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.linear = linear

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames float32 [B, M, T] to outputs float32 [B, n_outputs]."""
        lengths = frame_lengths(frames)
        # Else a last frame is pooled if another sample of the batch is longer, or is dropped.
        n_padding = -frames.shape[2] % 2 ** len(self.blocks)
        maps = F.pad(frames, (0, n_padding))[:, None]
        for block in self.blocks:
            lengths = (lengths + 1) // 2
            maps = block(maps)
            is_frame = is_within(lengths, maps.shape[3])[:, None, None]  # [B, 1, 1, T]
            maps = maps * is_frame
        mean = maps.sum(3) / lengths[:, None, None]
        highest = maps.masked_fill(~is_frame, torch.finfo(maps.dtype).min).amax(3)
        outputs: Tensor = self.linear(self.dropout(torch.cat([mean, highest], 1).flatten(1)))
        return outputs
