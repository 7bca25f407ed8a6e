"""Frames brought to one scale; those after the end of a sample, and those alone, are exactly 0."""

from collections.abc import Sequence

import torch
from torch import Tensor

#: In place of 0 in a frame that would be all 0, which says that the sample has ended.
BARELY = 1e-6


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
