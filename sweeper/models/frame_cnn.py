"""A convolutional network on frames, such as those of a spectrum over time."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.config.settings import Activation
from sweeper.errors import TrainingError
from sweeper.models.activation import ACTIVATIONS
from sweeper.models.dropout import Dropout
from sweeper.models.sequence import frame_lengths, is_within


class FrameCnn(nn.Module):
    """Convolution blocks over bands and time, then the mean and the maximum over time.

    A block is convolution, normalisation, 2 x 2 maximum, activation. The bands that are left stay
    apart: what a sound is lies in where it is along them. After each block what lies behind the
    end of a sample is 0 again, so that in evaluation an answer does not depend on how many frames
    of padding follow it. In training batch normalisation counts the padding of its batch.

    Args:
        n_bands: M, >= 2**depth.
        n_outputs: Outputs per sample, >= 1.
        depth: As of :func:`~sweeper.models.cnn.build_cnn`, and so the following.
        channels: Of the first block; each has twice those of the one before.
        kernel_size: Side of the square kernel.
        activation: In each block.
        dropout: Share of the inputs of the last layer dropped while training.
        batch_norm: Whether to normalise each convolution over the batch.

    Raises:
        TrainingError: If there are too few bands for the depth.
    """

    def __init__(
        self,
        n_bands: int,
        n_outputs: int,
        *,
        depth: int,
        channels: int,
        kernel_size: int,
        activation: Activation,
        dropout: float,
        batch_norm: bool,
    ) -> None:
        super().__init__()
        if depth > (largest := n_bands.bit_length() - 1):
            raise TrainingError(
                f"model.architecture: cnn: each block halves the bands, so {n_bands} allow a "
                f"depth of at most {largest}, got depth={depth}; lower it or take more bands"
            )
        self.blocks = nn.ModuleList()
        n_before = 1
        for block in range(depth):
            n_maps = channels * 2**block
            convolution = nn.Conv2d(
                n_before, n_maps, kernel_size, padding="same", bias=not batch_norm
            )
            norm = [nn.BatchNorm2d(n_maps)] if batch_norm else []
            layers = [convolution, *norm, nn.MaxPool2d(2), ACTIVATIONS[activation]()]
            self.blocks.append(nn.Sequential(*layers))
            n_before = n_maps
        self.dropout = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.linear = nn.Linear(2 * n_before * (n_bands >> depth), n_outputs)

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
