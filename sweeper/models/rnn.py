"""Recurrent networks over texts and frames."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from sweeper.models.dropout import Dropout
from sweeper.models.sequence import (
    FrameInput,
    Pool,
    TextEmbedding,
    pooled,
    reversed_steps,
    sequence_input,
    taken,
)
from sweeper.trial import DataInfo

Cell = Literal["lstm", "gru", "rnn"]
_CELLS: Mapping[Cell, type[nn.LSTM | nn.GRU | nn.RNN]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn": nn.RNN,
}


class Layer(nn.Module):
    """Reads the steps of samples, backwards too if that is wanted.

    Backwards it begins with a sample's last step. torch's own bidirectional networks begin with
    the padding unless sequences are packed, which cannot be exported.
    """

    def __init__(self, cell: Cell, n_inputs: int, width: int, *, bidirectional: bool) -> None:
        super().__init__()
        build = _CELLS[cell]
        self.forwards = build(n_inputs, width, batch_first=True)
        self.backwards = build(n_inputs, width, batch_first=True) if bidirectional else None

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map [B, L, D] to [B, L, ways * width], and to the last of each way [B, ways * width]."""
        last_step = lengths[:, None] - 1
        found, _ = self.forwards(features)
        last = taken(found, last_step)[:, 0]
        if self.backwards is None:
            return found, last
        steps = reversed_steps(lengths, features.shape[1])
        reverse, _ = self.backwards(taken(features, steps))
        both_last = torch.cat([last, taken(reverse, last_step)[:, 0]], -1)
        return torch.cat([found, taken(reverse, steps)], -1), both_last


class Rnn(nn.Module):
    """Recurrent layers, and one vector of what they find."""

    def __init__(
        self,
        first: TextEmbedding | FrameInput,
        layers: list[Layer],
        pool: Pool,
        dropout: float,
        last: nn.Module,
    ) -> None:
        super().__init__()
        self.first = first
        self.layers = nn.ModuleList(layers)
        self.dropout = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.last = last
        self._pool: Pool = pool

    def forward(self, samples: Tensor) -> Tensor:
        """Map ids int64 [B, L], or frames [B, M, T], to outputs float32 [B, n_outputs]."""
        features, lengths = self.first(samples)
        for layer in self.layers:
            features, ends = layer(self.dropout(features), lengths)
        vector = ends if self._pool == "last" else pooled(features, lengths, self._pool)
        outputs: Tensor = self.last(self.dropout(vector))
        return outputs


def build_rnn(
    data: DataInfo,
    n_outputs: int,
    *,
    cell: Cell = "lstm",
    depth: int = 1,
    width: int = 128,
    bidirectional: bool = True,
    pool: Pool = "max",
    dropout: float = 0.0,
) -> nn.Module:
    """Embedded words, or frames, ``depth`` recurrent layers, one vector, one linear layer.

    Args:
        data: Texts, or frames [M, T].
        n_outputs: Outputs per sample, >= 1.
        cell: Of all layers; ``rnn`` is the plain one, with tanh.
        depth: Layers, >= 1.
        width: Features of a word, and units of each layer and way, >= 1.
        bidirectional: Whether each layer reads backwards, too.
        pool: What is taken of all steps: their mean, the largest of each feature, or the last
            step, of a way backwards its own last.
        dropout: Share of the features before each layer dropped while training, in [0, 1).

    Returns:
        A module int64 [B, L], or float32 [B, M, T], of any length -> outputs float32
        [B, n_outputs].

    Raises:
        TrainingError: If the data are neither.
    """
    first = sequence_input(data, width)
    n_ways = 2 if bidirectional else 1
    layers = [
        Layer(cell, n_inputs, width, bidirectional=bidirectional)
        for n_inputs in [first.width, *[n_ways * width] * (depth - 1)]
    ]
    return Rnn(first, layers, pool, dropout, nn.Linear(n_ways * width, n_outputs))
