"""What one batch shows of a network of the user's own."""

import torch
from torch import nn

from sweeper.training.packed.watched import difference, watch

CPU, OTHER = torch.device("cpu"), torch.device("meta")


def test_a_captured_program_does_not_draw_from_the_generator_of_another_device() -> None:
    def draw() -> None:
        torch.ones(3).mul_(torch.rand(()))

    reason = "its forward pass draws random numbers, and not by nn.Dropout"
    assert watch(draw, nn.Identity(), CPU).reason is None
    assert watch(draw, nn.Identity(), OTHER).reason == reason


def test_what_is_decided_by_a_number_is_decided_on_the_host() -> None:
    def decide() -> None:
        if torch.ones(3).sum() > 2:
            torch.zeros(3)

    reason = "its forward pass needs the host for aten._local_scalar_dense"
    assert difference([watch(decide, nn.Identity(), CPU)]) == reason


def test_rows_by_their_numbers_need_no_host() -> None:
    rows, table = torch.tensor([2, 0]), torch.tensor([True, False, True])

    def take() -> None:
        table[rows].logical_not_()

    assert difference([watch(take, nn.Identity(), CPU)]) is None
