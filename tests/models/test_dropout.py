import math

import pytest
import torch

from sweeper.models.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_it_drops_the_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(3)
    n_units = 1_000_001  # no multiple of four
    outputs = Dropout(share)(torch.ones(n_units))
    # Five standard deviations of a binomial share.
    margin = 5 * math.sqrt(share * (1 - share) / n_units)
    assert abs((outputs == 0).double().mean().item() - share) < margin
    kept = outputs[outputs > 0]
    torch.testing.assert_close(
        kept, torch.full_like(kept, 1 / (1 - share)), rtol=2**-15 / (1 - share), atol=0
    )


def test_units_are_dropped_independently() -> None:
    torch.manual_seed(3)
    dropped = (Dropout(0.5)(torch.ones(250_000, 4)) == 0).double()
    correlations = torch.corrcoef(dropped.T) - torch.eye(4)
    assert correlations.abs().max() < 5 / math.sqrt(250_000)


def test_the_gradient_is_masked_and_scaled_like_the_output() -> None:
    torch.manual_seed(3)
    inputs = torch.full((8, 3, 5, 7), 2.0, requires_grad=True)
    outputs = Dropout(0.5)(inputs)
    outputs.sum().backward()
    torch.testing.assert_close(inputs.grad, outputs.detach() / 2, rtol=0, atol=0)
    assert 0 < (outputs == 0).sum() < outputs.numel()


def test_one_seed_one_mask() -> None:
    masks = []
    for _ in range(2):
        torch.manual_seed(3)
        masks.append(Dropout(0.5)(torch.ones(1000)))
    torch.testing.assert_close(*masks, rtol=0, atol=0)


def test_a_share_that_rounds_to_all_of_them_leaves_finite_numbers() -> None:
    assert Dropout(1 - 1e-9)(torch.ones(100_000)).isfinite().all()


def test_evaluation_passes_inputs_on() -> None:
    inputs = torch.ones(10)
    assert Dropout(0.5).eval()(inputs) is inputs
