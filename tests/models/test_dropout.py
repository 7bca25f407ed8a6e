import math

import pytest
import torch
from torch import Tensor, nn

from sweeper.models.dropout import (
    Dropout,
    Key,
    _Current,
    draw_by,
    draw_from_generator,
    drawing_by,
    key_dropouts,
)
from sweeper.training.seed import BatchSeeds


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


def keyed(value: int, module: Dropout, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Masks of one forward pass."""
    with drawing_by(Key(torch.tensor(value))):
        return [module(torch.ones(shape)) for shape in shapes]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_by_a_key_it_drops_the_share_and_keeps_the_mean(share: float) -> None:
    n_units = 1_000_001
    [outputs] = keyed(-5, Dropout(share), (n_units,))
    margin = 5 * math.sqrt(share * (1 - share) / n_units)
    assert abs((outputs == 0).double().mean().item() - share) < margin
    kept = outputs[outputs > 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - share)), rtol=1e-5, atol=0)


def test_by_keys_units_calls_and_neighbouring_batches_are_dropped_independently() -> None:
    seeds = BatchSeeds(3, torch.device("cpu"), has_own_code=False, has_keys=True)
    n_units = 62_500
    columns = []
    for number in range(2):
        keys = seeds.keys([number])
        assert keys is not None
        masks = keyed(keys[0], Dropout(0.5), (n_units, 4), (n_units, 4))
        columns += [column for mask in masks for column in (mask == 0).double().unbind(1)]
    correlations = torch.corrcoef(torch.stack(columns)) - torch.eye(16)
    assert correlations.abs().max() < 5 / math.sqrt(n_units)


def test_the_masks_of_several_keys_at_once_are_those_of_each() -> None:
    values = [0, -(2**63), 2**63 - 1, 77]
    together = Key(torch.tensor(values)[:, None])
    shapes = [(8, 5), (3, 2, 4)]
    levels = [together.levels(shape) for shape in shapes]
    for place, value in enumerate(values):
        alone = Key(torch.tensor(value))
        for shape, of_all in zip(shapes, levels, strict=True):
            assert torch.equal(alone.levels(shape), of_all[place])


def test_each_batch_that_is_seeded_has_the_masks_of_its_number() -> None:
    seeds = BatchSeeds(3, torch.device("cpu"), has_own_code=False, has_keys=True)
    dropout, masks = Dropout(0.5), []
    with drawing_by(None):
        for number in (4, 5, 4):
            seeds.use(number)
            masks.append(dropout(torch.ones(1000)))
        draw_from_generator()
        torch.manual_seed(1)
        drawn = dropout(torch.ones(1000))
        torch.manual_seed(1)
        assert torch.equal(dropout(torch.ones(1000)), drawn)
    assert torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[1])


def test_a_key_stays_what_it_is_when_others_follow() -> None:
    with drawing_by(None):
        draw_by(7, torch.device("cpu"))
        first = _Current.key
        draw_by(8, torch.device("cpu"))
    assert first is not None
    assert torch.equal(first.levels((100,)), Key(torch.tensor(7)).levels((100,)))


def test_plain_dropouts_of_torch_draw_by_keys_and_others_as_they_did() -> None:
    class Other(nn.Dropout):
        """Of somebody's own."""

    model = nn.Sequential(nn.Dropout(0.5), Other(0.5), nn.Dropout2d(0.5))
    key_dropouts(model)
    assert [type(module) for module in model] == [Dropout, Other, nn.Dropout2d]
    with drawing_by(Key(torch.tensor(5))):
        own = model[0](torch.ones(1000))
    [expected] = keyed(5, Dropout(0.5), (1000,))
    assert torch.equal(own, expected)
