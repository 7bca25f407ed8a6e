"""How far the weights of one training are from those of another."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def weights_difference(weights: Mapping[str, Any], others: Mapping[str, Any]) -> float:
    """The L2 norm of what two ``state_dict`` differ by, as a share of the norm of the first.

    Counters and whatever else is no floating-point tensor is left out.

    Args:
        weights: On the CPU.
        others: On the CPU.

    Returns:
        In [0, inf], computed in float64; 0 if and only if they are equal, NaN included, and inf if
        they are not of one shape, or if one is not finite where the other is.
    """
    first, second = _floating(weights), _floating(others)
    if {name: each.shape for name, each in first.items()} != {
        name: each.shape for name, each in second.items()
    }:
        return math.inf
    if all(torch.equal(*_comparable(first[name], second[name])) for name in first):
        return 0.0
    apart = math.hypot(*(_norm(first[name] - second[name]) for name in first))
    norm = math.hypot(*map(_norm, first.values()))
    return apart / norm if math.isfinite(apart) and norm else math.inf


def _floating(weights: Mapping[str, Any]) -> dict[str, Tensor]:
    return {
        name: value.double()
        for name, value in weights.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }


def _comparable(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the largest number in place of NaN where the other is NaN, too."""
    both = first.isnan() & second.isnan()
    largest = torch.finfo(first.dtype).max
    return first.masked_fill(both, largest), second.masked_fill(both, largest)


def _norm(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values))
