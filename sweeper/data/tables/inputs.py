"""What the training rows of a table decide: how numbers are scaled, and stand in for gaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sweeper.config.settings import Scale

#: Quantiles by which numbers are brought to a normal distribution; and the share at both ends
#: whose numbers become one, as the scores of the outermost would be endless.
_N_KNOTS, _TAIL = 257, 1e-3


class TableInputs(nn.Module):
    """Rows of a table as they were read -> inputs of a network.

    Training and a served model compute by it alike, in float64.

    Args:
        fitted: By :func:`fit_inputs`.
    """

    def __init__(self, fitted: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in fitted.items():
            self.register_buffer(name, tensor)
        self._has_knots = "knots" in fitted

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows to inputs.

        Args:
            rows: float32 [B, F + K]: numbers, NaN where nothing is, then categories.

        Returns:
            float32 [B, F + gaps + K]: the numbers, scaled, with the median where nothing is; after
            each that has gaps in training rows, 1 where it has one; then the categories.
        """
        median = self.get_buffer("median")
        numbers, categories = rows[:, : len(median)], rows[:, len(median) :]
        is_gap = numbers.isnan()
        filled = torch.where(is_gap, median, numbers.double())
        scaled = self._normal_scores(filled) if self._has_knots else self._standard(filled)
        columns = torch.cat([scaled.float(), is_gap.float()], 1)
        return torch.cat([columns.index_select(1, self.get_buffer("order")), categories], 1)

    def _standard(self, numbers: Tensor) -> Tensor:
        return (numbers - self.get_buffer("mean")) / self.get_buffer("std")

    def _normal_scores(self, numbers: Tensor) -> Tensor:
        """Quantiles of a normal distribution at the share of fitted values that are lower."""
        knots, levels = self.get_buffer("knots"), self.get_buffer("levels")
        values = numbers.T.contiguous()
        above = torch.searchsorted(knots, values, right=True).clamp(min=1)
        above = torch.minimum(above, self.get_buffer("last")[:, None])
        left, right = knots.gather(1, above - 1), knots.gather(1, above)
        part = ((values - left) / (right - left)).clamp(0, 1)
        low, high = levels.gather(1, above - 1), levels.gather(1, above)
        shares = low + part * (high - low)
        scores: Tensor = torch.special.ndtri(shares.clamp(_TAIL, 1 - _TAIL))
        return scores.T

    def probe(self, sizes: tuple[int, ...]) -> Tensor:
        """Three rows to try a model with, a gap in each number of the first.

        Args:
            sizes: Of the categories.
        """
        spread = torch.tensor([[float("nan")], [-1.0], [1.0]], dtype=torch.float64)
        numbers = self.get_buffer("median") * (1 + spread / 2) + spread
        categories = torch.tensor([[0, size // 2, size - 1] for size in sizes]).view(-1, 3).T
        return torch.cat([numbers.float(), categories.float()], 1)


def fit_inputs(
    numbers: NDArray[np.float32], train: NDArray[np.int64], scale: Scale
) -> TableInputs:
    """What the training rows of some columns of numbers decide.

    Args:
        numbers: [N, F], NaN where nothing is.
        train: The training rows.
        scale: How numbers are scaled.
    """
    n_columns = numbers.shape[1]
    order: list[int] = []
    fits: list[Mapping[str, NDArray[Any]]] = []
    for index in range(n_columns):  # one at a time, as a copy of all may be large
        values = numbers[train, index].astype(np.float64)
        is_gap = np.isnan(values)
        order += [index, n_columns + index] if is_gap.any() else [index]
        median = np.zeros(()) if is_gap.all() else np.array(np.median(values[~is_gap]))
        filled = np.where(is_gap, median, values)
        fit = _fit_standard if scale == "standard" else _fit_quantiles
        fits.append({"median": median, **fit(filled)})
    names = fits[0] if fits else ("median", "mean", "std")
    tensors = {name: np.array([fit[name] for fit in fits]) for name in names}
    return TableInputs(
        {name: torch.from_numpy(values) for name, values in tensors.items()}
        | {"order": torch.tensor(order, dtype=torch.int64)}
    )


def _fit_standard(values: NDArray[np.float64]) -> Mapping[str, NDArray[Any]]:
    return {"mean": values.mean(), "std": values.std() or np.float64(1)}


def _fit_quantiles(values: NDArray[np.float64]) -> Mapping[str, NDArray[Any]]:
    """Different quantiles with the shares at which they stand, equal ones in their middle."""
    levels = np.linspace(0, 1, _N_KNOTS)
    known, first, counts = np.unique(
        np.quantile(values, levels), return_index=True, return_counts=True
    )
    knots, shares = np.full(_N_KNOTS, np.inf), np.full(_N_KNOTS, 0.5)
    knots[: len(known)] = known
    shares[: len(known)] = (levels[first] + levels[first + counts - 1]) / 2
    # Of one value alone the next is infinitely far, so that all numbers have its share, one half.
    return {"knots": knots, "levels": shares, "last": np.array(max(1, len(known) - 1))}
