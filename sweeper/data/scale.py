"""Inputs of a batch brought to one scale, on the device."""

from collections.abc import Sequence

import torch
from torch import Tensor

#: Frames after the end of a sample, and those alone, are exactly 0; this stands in place of 0 in a
#: frame that would be all 0, which says that the sample has ended.
BARELY = 1e-6


class Normalisation:
    """uint8 in 0..255 -> float32 of mean 0 and standard deviation 1 per channel."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        input_shape: Sequence[int],
        device: torch.device,
    ) -> None:
        shape = (-1, 1, 1) if len(input_shape) == 3 else (-1,)  # [C, 1, 1] or [1]
        means = torch.tensor(mean, dtype=torch.float64).view(shape)
        stds = torch.tensor(std, dtype=torch.float64).view(shape)
        self._scale = (1 / (255 * stds)).to(device, torch.float32)
        self._shift = (-means / stds).to(device, torch.float32)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs uint8 [B, ...] -> float32 [B, ...]."""
        # Converted apart: a product of mixed types takes half as long again on a CPU.
        return inputs.float().mul_(self._scale).add_(self._shift)


class FrameScale:
    """Brings each band to mean 0 and deviation 1.

    Args:
        mean: Of each band, over frames, not padding.
        std: As ``mean``, > 0.
        device: Of the frames.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], *, device: torch.device
    ) -> None:
        self._mean = torch.tensor(mean, dtype=torch.float32, device=device)[:, None]
        self._std = torch.tensor(std, dtype=torch.float32, device=device)[:, None]

    def __call__(self, frames: Tensor) -> Tensor:
        """Frames float32 [B, M, T] -> the same, scaled."""
        is_frame = (frames != 0).any(1, keepdim=True)
        return mark_frames((frames - self._mean) / self._std, is_frame)


def mark_frames(values: Tensor, is_frame: Tensor) -> Tensor:
    """Values [B, M, T], 0 where there is no frame [B, 1, T], and not all 0 where there is one."""
    is_blank = is_frame & (values == 0).all(1, keepdim=True)
    return torch.where(is_frame, values, 0.0) + is_blank * BARELY
