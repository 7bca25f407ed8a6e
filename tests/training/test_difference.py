import math

import pytest
import torch

from sweeper.training.difference import weights_difference

WEIGHTS = {"a": torch.tensor([3.0]), "b": torch.tensor([[4.0, 0.0]]), "n": torch.tensor(7)}


def test_it_is_the_norm_of_what_differs_as_a_share_of_the_norm() -> None:
    others = {**WEIGHTS, "a": torch.tensor([3.3]), "b": torch.tensor([[4.0, 0.4]])}
    assert weights_difference(WEIGHTS, others) == pytest.approx(0.1)


def test_counters_are_no_weights() -> None:
    assert weights_difference(WEIGHTS, {**WEIGHTS, "n": torch.tensor(8)}) == 0


def test_the_last_bit_counts_beside_large_numbers() -> None:
    large, small = torch.tensor([1e20, 1e20]), torch.tensor([1e-20])
    apart = torch.nextafter(small, torch.tensor(1.0))
    assert weights_difference({"a": large, "b": small}, {"a": large, "b": apart}) > 0


def test_what_has_another_form_is_as_far_as_can_be() -> None:
    assert weights_difference(WEIGHTS, {**WEIGHTS, "a": torch.zeros(2)}) == math.inf
    assert weights_difference(WEIGHTS, {"a": WEIGHTS["a"]}) == math.inf


def test_nan_is_equal_to_nan_alone() -> None:
    nan = {"a": torch.tensor([math.nan, 1.0])}
    assert weights_difference(nan, {"a": torch.tensor([math.nan, 1.0])}) == 0
    assert weights_difference(nan, {"a": torch.tensor([2.0, 1.0])}) == math.inf


def test_weights_that_are_zero() -> None:
    zeros = {"a": torch.zeros(2)}
    assert weights_difference(zeros, {"a": torch.zeros(2)}) == 0
    assert weights_difference(zeros, {"a": torch.ones(2)}) == math.inf
