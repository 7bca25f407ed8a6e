"""sweeper.models.dropout."""

import pytest
import torch
from torch import nn

from sweeper.models.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_of_zeros_is_p_and_the_mean_is_kept(p: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(p)(torch.ones(1000, 1000))
    # A million draws: five standard errors are 5 * sqrt(p * (1 - p) / 1e6) <= 0.0025.
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=0.0025)
    assert dropped.mean().item() == pytest.approx(1, abs=0.0025 / (1 - p))
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / (1 - p), rel=1e-3)]


def test_neighbours_that_share_one_random_number_are_dropped_independently() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(100_000, 4)) != 0).float()
    correlation = torch.corrcoef(kept.T) - torch.eye(4)
    assert correlation.abs().max() < 5 / 100_000**0.5


def test_gradients_pass_where_values_pass() -> None:
    inputs = torch.ones(3, 7, requires_grad=True)
    dropped = Dropout(0.5)(inputs)
    dropped.sum().backward()
    torch.testing.assert_close(inputs.grad, dropped.detach(), rtol=0, atol=0)


def test_the_same_generator_state_drops_the_same() -> None:
    inputs, dropout = torch.randn(5, 3), Dropout(0.3)
    torch.manual_seed(4)
    first = dropout(inputs)
    torch.manual_seed(4)
    torch.testing.assert_close(dropout(inputs), first, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_shape_dtype_and_layout_stay(dtype: torch.dtype) -> None:
    inputs = torch.ones(2, 3, 4, 5, dtype=dtype).to(memory_format=torch.channels_last)
    dropped = Dropout(0.5)(inputs)
    assert (dropped.shape, dropped.dtype) == (inputs.shape, dtype)
    assert dropped.is_contiguous(memory_format=torch.channels_last)


def test_nothing_is_dropped_in_evaluation_or_without_p_and_nothing_is_drawn() -> None:
    inputs = torch.randn(4, 4)
    before = torch.get_rng_state()
    assert torch.equal(Dropout(0.5).eval()(inputs), inputs)
    assert torch.equal(Dropout(0.0)(inputs), inputs)
    assert torch.equal(torch.get_rng_state(), before)


def test_whoever_looks_for_torchs_dropout_finds_it() -> None:
    assert isinstance(Dropout(0.5), nn.Dropout)


def test_a_p_next_to_one_keeps_the_mean_finite() -> None:
    assert torch.isfinite(Dropout(0.999999)(torch.ones(1000))).all()
