"""Which rows are trained on, and which are held out."""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import torch
from torch import Tensor

from sweeper.config.holdout import Holdout, share_of
from sweeper.data.targets import strata
from sweeper.errors import DataError
from sweeper.text import format_count
from sweeper.trial import Task


def part_rows(
    targets: Tensor,
    task: Task,
    holdout: Holdout,
    *,
    marks: Tensor | None,
    seed: int,
    name: str,
) -> tuple[Tensor, Tensor]:
    """Training and validation rows, as ``data.validation`` says.

    Args:
        targets: In the form of the task.
        task: Of the targets.
        holdout: What is to be held out.
        marks: Of each row its group, or 1 if it is held out, int [N]; None where a share is.
        seed: Of the choice, in [0, 2**63).
        name: Of the data, for messages.

    Raises:
        DataError: If one of the two would have no rows.
    """
    if marks is not None:
        if not isinstance(holdout, float) and "by" in holdout:
            return grouped_split(marks, share=share_of(holdout), seed=seed)
        return (marks == 0).nonzero().flatten(), (marks == 1).nonzero().flatten()
    assert isinstance(holdout, float)
    train, validation = stratified_split(strata(targets, task), share=holdout, seed=seed)
    if len(train) == 0 or len(validation) == 0:
        raise DataError(
            f"data.validation: {holdout:g} of the {len(targets)} rows of {name} leaves "
            f"{len(train)} for training and {len(validation)} for validation; both need at least "
            "one, and a class of a single row is trained on: bring more rows of each class, or "
            "choose another share"
        )
    return train, validation


def describe_groups(
    marks: Tensor | None, holdout: Holdout, parts: tuple[Tensor, Tensor]
) -> tuple[str, ...]:
    """How many groups stand on each side, in a line; none where rows are not parted by them.

    Args:
        marks: As of :func:`part_rows`.
        holdout: As of :func:`part_rows`.
        parts: As it returned them.
    """
    if marks is None or isinstance(holdout, float) or "by" not in holdout:
        return ()
    n_train, n_validation = (len(torch.unique(marks[rows])) for rows in parts)
    train = format_count(n_train, "group")
    return (f"parted by {holdout['by']}: {train} to train on, {n_validation} to validate on",)


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


def grouped_split(groups: Tensor, *, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Part rows into training and validation so that no group stands on both sides.

    Groups are taken in an order by the seed, each if the held out rows are then nearer to the
    share; one group at least is held out, the smallest if no other is small enough, and one at
    least is trained on.

    Args:
        groups: The group of each row, int64 [N], of at least two groups.
        share: Of the rows that go to validation, in (0, 1).
        seed: Of the order, in [0, 2**63).

    Returns:
        As :func:`stratified_split`.

    Source: own derivation.
    """
    _, groups, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    sizes, wanted = counts.tolist(), share * len(groups)
    order = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed)).tolist()
    held_out: list[int] = []
    n_rows = 0
    for group in order:
        if 2 * (wanted - n_rows) >= sizes[group] and len(held_out) < len(sizes) - 1:
            held_out.append(group)
            n_rows += sizes[group]
    held_out = held_out or [min(order, key=sizes.__getitem__)]
    is_validation = torch.isin(groups, torch.tensor(held_out))
    return (~is_validation).nonzero().flatten(), is_validation.nonzero().flatten()


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

    def hand_out(n_rows: int, step: int, bounds: Sequence[int]) -> None:
        # A heap, as there may be 100,000 classes, and a row for most of them.
        free = [(-step * remainder(k), k) for k, size in enumerate(sizes) if size != bounds[k]]
        heapify(free)
        for _ in range(n_rows):
            _, k = heappop(free)
            sizes[k] += step
            if sizes[k] != bounds[k]:
                heappush(free, (-step * remainder(k), k))

    hand_out(min(wanted, sum(highs)) - sum(sizes), 1, highs)
    hand_out(sum(sizes) - max(wanted, sum(lows)), -1, lows)
    return sizes
