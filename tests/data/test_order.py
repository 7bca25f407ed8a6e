"""Orders of rows are those of torch's generator, whoever draws them, and when."""

import pytest
import torch

from sweeper.data.order import Shuffle

SEED, N = 5, 1000


def drawn(n_orders: int) -> tuple[list[list[int]], torch.Tensor]:
    """By torch alone, and the state behind them."""
    generator = torch.Generator().manual_seed(SEED)
    orders = [torch.randperm(N, generator=generator).tolist() for _ in range(n_orders)]
    return orders, generator.get_state()


@pytest.mark.parametrize("is_ahead", [False, True])
def test_each_order_goes_on_where_the_one_before_has_ended(is_ahead: bool) -> None:
    shuffle = Shuffle(SEED)
    for n in range(4):
        orders, state = drawn(n + 1)
        assert shuffle.order(N).tolist() == orders[-1]
        if is_ahead:
            shuffle.draw_ahead(N)
            shuffle.draw_ahead(N)
        assert torch.equal(shuffle.state, state)


def test_what_was_drawn_ahead_in_vain_changes_nothing() -> None:
    shuffle, other = Shuffle(SEED), Shuffle(SEED)
    shuffle.draw_ahead(N)
    assert shuffle.order(7).tolist() == other.order(7).tolist()
    assert torch.equal(shuffle.state, other.state)


def test_it_goes_on_from_a_state_whatever_was_drawn_ahead() -> None:
    shuffle, other = Shuffle(SEED), Shuffle(SEED + 1)
    shuffle.draw_ahead(N)
    shuffle.order(N)
    shuffle.draw_ahead(N)
    other.draw_ahead(N)
    other.state = shuffle.state
    assert shuffle.order(N).tolist() == other.order(N).tolist() == drawn(2)[0][-1]
