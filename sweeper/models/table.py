"""The rows of a table as features of a network: numbers, and embedded categories."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.trial import Features

NumberEmbedding = Literal["none", "periodic"]
#: Sines and cosines of a number, their initial frequencies, and what a number becomes.
_WAVES, _FREQUENCY, _NUMBER_WIDTH = 16, 0.3, 8
#: Of an embedded category.
_CATEGORY_WIDTH = 8


class TableFeatures(nn.Module):
    """Embeds the categories of rows, and their numbers if that is wanted.

    Args:
        features: Of a row.
        numbers: ``none`` leaves them as they are; ``periodic`` embeds each by sines and cosines of
            learned frequencies, which lets a network follow steep and uneven functions.

    Attributes:
        n_features: Of a row that is embedded.

    Source: Gorishniy et al. 2022 (arXiv:2203.05556), periodic embeddings with a linear layer that
    all numbers share.
    """

    def __init__(self, features: Features, numbers: NumberEmbedding) -> None:
        super().__init__()
        self._n_numbers, sizes = features.n_numbers, features.categories
        self.numbers = PeriodicNumbers(self._n_numbers) if numbers == "periodic" else nn.Identity()
        width = _NUMBER_WIDTH if numbers == "periodic" else 1
        self.n_features = width * self._n_numbers + _CATEGORY_WIDTH * len(sizes)
        if not sizes:
            self.categories = None
            return
        # One table for all, so that one look-up brings the categories of a batch.
        first = torch.tensor([sum(sizes[:at]) for at in range(len(sizes))])
        self.register_buffer("first", first, persistent=False)
        self.categories = nn.Embedding(sum(sizes), _CATEGORY_WIDTH)
        with torch.no_grad():
            self.categories.weight[first] = 0  # what no training row has says nothing

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows float32 [B, numbers + categories] to float32 [B, n_features]."""
        numbers: Tensor = self.numbers(rows[:, : self._n_numbers])
        if self.categories is None:
            return numbers
        codes = rows[:, self._n_numbers :].long() + self.get_buffer("first")
        return torch.cat([numbers, self.categories(codes).flatten(1)], 1)


class PeriodicNumbers(nn.Module):
    """Numbers by sines and cosines.

    Args:
        n_numbers: In a row.
    """

    def __init__(self, n_numbers: int) -> None:
        super().__init__()
        self._n_numbers = n_numbers
        # Flat, as decay is for weights: it would take all frequencies to zero.
        self.frequencies = nn.Parameter(torch.randn(n_numbers * _WAVES) * _FREQUENCY)
        self.linear = nn.Linear(2 * _WAVES, _NUMBER_WIDTH)

    def forward(self, numbers: Tensor) -> Tensor:
        """Map float32 [B, n_numbers] to float32 [B, n_numbers * 8]."""
        frequencies = self.frequencies.view(self._n_numbers, _WAVES)
        waves = 2 * math.pi * numbers[..., None] * frequencies
        embedded: Tensor = self.linear(torch.cat([waves.sin(), waves.cos()], -1))
        return F.relu(embedded).flatten(1)
