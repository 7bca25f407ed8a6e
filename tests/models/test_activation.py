from typing import get_args

import pytest
import torch

from sweeper.config.settings import Activation
from sweeper.models.activation import ACTIVATIONS


def test_the_activations_are_those_of_the_study_file() -> None:
    assert set(ACTIVATIONS) == set(get_args(Activation))


@pytest.mark.parametrize(
    ("name", "at_minus_one"),
    [
        ("relu", 0.0),
        ("tanh", -0.761594),
        ("sigmoid", 0.268941),
        ("gelu", -0.158655),
        ("silu", -0.268941),
        ("elu", -0.632121),
        ("leaky_relu", -0.01),
    ],
)
def test_each_activation_is_the_function_of_its_name(
    name: Activation, at_minus_one: float
) -> None:
    value = ACTIVATIONS[name]()(torch.tensor(-1.0))
    torch.testing.assert_close(value.item(), at_minus_one, rtol=0, atol=1e-6)
