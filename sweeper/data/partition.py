"""Which rows are trained on, and which are held out."""

from collections.abc import Sequence

import torch
from torch import Tensor


def stratified_split(targets: Tensor, *, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Part rows into training and validation, each class in proportion.

    Args:
        targets: The class of each row, int64 [N], N > 0.
        share: Of the rows that go to validation, in (0, 1).
        seed: Of the choice within each class, in [0, 2**63).

    Returns:
        Training and validation rows, int64 in ascending order, on the CPU; together they are
        0..N-1. Sizes as :func:`validation_sizes` gives them.

    Source: own derivation.
    """
    _, targets, counts = torch.unique(targets, return_inverse=True, return_counts=True)
    sizes = torch.tensor(validation_sizes(counts.tolist(), share=share))
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(targets), generator=generator)
    by_class = shuffled[targets[shuffled].argsort(stable=True)]
    classes = targets[by_class]
    rank_in_class = torch.arange(len(targets)) - (counts.cumsum(0) - counts)[classes]
    is_validation = rank_in_class < sizes[classes]
    return by_class[~is_validation].sort().values, by_class[is_validation].sort().values


def validation_sizes(counts: Sequence[int], *, share: float) -> list[int]:
    """How many rows of each class are held out.

    The total is ``round(share * N)``, handed out by largest remainder, the lower class first
    among equals. A class of two or more rows keeps at least one row on each side and a class of
    one row is trained on; where these rules leave no such total, it is the nearest possible one.

    Args:
        counts: Rows of each class, each >= 0, their sum N > 0.
        share: In (0, 1).

    Returns:
        One size a class.

    Source: Hamilton's method of apportionment, with bounds; the bounds are ours.
    """
    n = sum(counts)
    wanted = round(share * n)
    lows = [int(count > 1) for count in counts]
    highs = [max(count - 1, 0) for count in counts]
    sizes = [
        min(max(wanted * count // n, low), high)
        for count, low, high in zip(counts, lows, highs, strict=True)
    ]

    def remainder(k: int) -> int:  # times n, an exact integer
        return wanted * counts[k] - sizes[k] * n

    classes = range(len(counts))
    for _ in range(min(wanted, sum(highs)) - sum(sizes)):
        sizes[max((k for k in classes if sizes[k] < highs[k]), key=remainder)] += 1
    for _ in range(sum(sizes) - max(wanted, sum(lows))):
        sizes[min((k for k in classes if sizes[k] > lows[k]), key=remainder)] -= 1
    return sizes
