"""A Transformer encoder over texts and frames."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.errors import TrainingError
from sweeper.models.dropout import Dropout
from sweeper.models.sequence import (
    FrameInput,
    TextEmbedding,
    is_within,
    pooled,
    sequence_input,
)
from sweeper.trial import DataInfo

PositionForm = Literal["learned", "sinusoidal"]
#: Of initial embeddings: larger ones drown the positions, and normalisation scales them anyway.
_STD = 0.02
#: Units of the hidden layer in a block, for each of its width.
_EXPANSION = 2


class Positions(nn.Module):
    """Adds to each step what tells its place.

    Args:
        n_steps: The most.
        width: Features of a step.
        form: Learned, or sines and cosines of frequencies from 1 down to 1e-4.

    Source: Vaswani et al. 2017, section 3.5, for the sines and cosines.
    """

    def __init__(self, n_steps: int, width: int, form: PositionForm) -> None:
        super().__init__()
        self._shape = n_steps, width
        if form == "learned":
            # Flat, as decay is for weights.
            self.places = nn.Parameter(torch.randn(n_steps * width) * _STD)
            return
        rates = torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
        angles = torch.arange(n_steps)[:, None] * rates
        waves = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :width]
        self.register_buffer("places", waves.flatten(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, L, width] of any L up to ``n_steps`` to the same."""
        return features + self.places.view(self._shape)[: features.shape[1]]


class Block(nn.Module):
    """Attention, then two linear layers, each behind a normalisation and beside a shortcut.

    Source: Vaswani et al. 2017, with the normalisation first (Xiong et al. 2020).
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self._heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.before_layers = nn.LayerNorm(width)
        self.dropout = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.layers = nn.Sequential(
            nn.Linear(width, _EXPANSION * width),
            nn.GELU(),
            self.dropout,
            nn.Linear(_EXPANSION * width, width),
        )

    def forward(self, features: Tensor, within: Tensor) -> Tensor:
        """Map [B, L, width] to the same; ``within`` bool [B, 1, 1, L] is what may be looked at."""
        joined = self.queries_keys_values(self.before_attention(features))
        queries, keys, values = joined.unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(queries, keys, values, attn_mask=within)
        features = features + self.dropout(self.mixed(seen.transpose(1, 2).flatten(2)))
        changed: Tensor = self.dropout(self.layers(self.before_layers(features)))
        return features + changed


class Transformer(nn.Module):
    """Embedded steps with their positions, blocks, and the mean of all steps."""

    def __init__(
        self,
        first: TextEmbedding | FrameInput,
        positions: Positions,
        blocks: list[Block],
        dropout: float,
        last: nn.Linear,
    ) -> None:
        super().__init__()
        width = last.in_features
        self.first = first
        self.widen = (
            nn.Linear(first.width, width) if isinstance(first, FrameInput) else nn.Identity()
        )
        self.positions = positions
        self.dropout = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.blocks = nn.ModuleList(blocks)
        self.before_last = nn.LayerNorm(width)
        self.last = last

    def forward(self, samples: Tensor) -> Tensor:
        """Map ids int64 [B, L], or frames [B, M, T], to outputs float32 [B, n_outputs]."""
        features, lengths = self.first(samples)
        features = self.dropout(self.positions(self.widen(features)))
        within = is_within(lengths, features.shape[1])[:, None, None]
        for block in self.blocks:
            features = block(features, within)
        vector = pooled(self.before_last(features), lengths, "mean")
        outputs: Tensor = self.last(self.dropout(vector))
        return outputs


def build_transformer(
    data: DataInfo,
    n_outputs: int,
    *,
    depth: int = 2,
    width: int = 128,
    heads: int = 4,
    positions: PositionForm = "learned",
    dropout: float = 0.0,
) -> nn.Module:
    """Embedded words, or frames, with their positions, ``depth`` blocks, one linear layer.

    Args:
        data: Texts, or frames [M, T].
        n_outputs: Outputs per sample, >= 1.
        depth: Blocks, >= 1.
        width: Features of a step, a multiple of ``heads``; inside a block twice as many.
        heads: Of attention in each block, >= 1.
        positions: What tells the place of a step.
        dropout: Share of the features dropped while training, of steps, in each block and of the
            mean, in [0, 1).

    Returns:
        A module int64 [B, L], or float32 [B, M, T], of any length up to the data's -> outputs
        float32 [B, n_outputs].

    Raises:
        TrainingError: If the data are neither, or the width cannot be shared among the heads.
    """
    if width % heads:
        raise TrainingError(
            f"model.heads: each of them takes the same share of the width, and {width} is no "
            f"multiple of {heads}; change model.width or model.heads"
        )
    first = sequence_input(data, width, std=_STD)
    placed = Positions(data.input_shape[-1], width, positions)
    blocks = [Block(width, heads, dropout) for _ in range(depth)]
    return Transformer(first, placed, blocks, dropout, nn.Linear(width, n_outputs))
