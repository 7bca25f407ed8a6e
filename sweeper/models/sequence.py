"""Samples of different length, texts and frames, as networks over time take them.

All here is exact at any padding: what is behind a sample's end changes no answer.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.errors import TrainingError
from sweeper.trial import DataInfo

Pool = Literal["mean", "max", "last"]


class TextEmbedding(nn.Module):
    """Ids of words -> features, and where the text is.

    Args:
        n_words: Ids are below it; 0 is padding, and 1, which training rows may not have, says
            nothing at first.
        width: Features of a word.
        std: Of the initial ones, which are normal.
    """

    def __init__(self, n_words: int, width: int, *, std: float = 1.0) -> None:
        super().__init__()
        self.width = width
        self.words = nn.Embedding(n_words, width, padding_idx=0)
        with torch.no_grad():
            self.words.weight.mul_(std)
            self.words.weight[1] = 0

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Map ids int64 [B, L] to features [B, L, width] and lengths int64 [B], each >= 1."""
        return self.words(ids), (ids != 0).sum(1).clamp(min=1)


class FrameInput(nn.Module):
    """Frames -> features, and where the sound is.

    Args:
        n_bands: Features of a frame.
    """

    def __init__(self, n_bands: int) -> None:
        super().__init__()
        self.width = n_bands

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Map frames [B, M, T] to features [B, T, M] and lengths int64 [B], each >= 1."""
        return frames.transpose(1, 2), frame_lengths(frames)


def sequence_input(
    data: DataInfo, width: int, *, std: float = 1.0
) -> "TextEmbedding | FrameInput":
    """What a network over time begins with.

    Args:
        data: Texts, which are embedded, or frames, which are taken as they are.
        width: Of an embedding.
        std: Of an initial embedding.

    Raises:
        TrainingError: If the data are neither.
    """
    if data.tokens is not None:
        return TextEmbedding(data.tokens.n_words, width, std=std)
    if len(data.input_shape) != 2:
        raise TrainingError(
            f"model.architecture: a network over time takes texts, or frames [M, T], got samples "
            f"of shape {list(data.input_shape)}; take another architecture"
        )
    return FrameInput(data.input_shape[0])


def frame_lengths(frames: Tensor) -> Tensor:
    """Frames of each sample [B, M, T], up to its last that is not all 0, int64 [B], each >= 1."""
    times = torch.arange(1, frames.shape[2] + 1, device=frames.device)
    return ((frames != 0).any(1) * times).amax(1).clamp(min=1)


def is_within(lengths: Tensor, n_steps: int) -> Tensor:
    """Which steps are before the end of their sample, bool [B, n_steps]."""
    return torch.arange(n_steps, device=lengths.device) < lengths[:, None]


def reversed_steps(lengths: Tensor, n_steps: int) -> Tensor:
    """Where each step of the sample read backwards is, int64 [B, n_steps]; padding stays."""
    steps = torch.arange(n_steps, device=lengths.device)
    return torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)


def taken(features: Tensor, steps: Tensor) -> Tensor:
    """Features [B, L, D] at some steps of each sample, [B, n, D]."""
    return features.gather(1, steps[..., None].expand(-1, -1, features.shape[2]))


def pooled(features: Tensor, lengths: Tensor, pool: Literal["mean", "max"]) -> Tensor:
    """One vector for each sample: features [B, L, D] within the lengths -> [B, D]."""
    within = is_within(lengths, features.shape[1])[..., None]
    if pool == "max":
        return features.masked_fill(~within, -torch.inf).amax(1)
    return features.masked_fill(~within, 0.0).sum(1) / lengths[:, None]
