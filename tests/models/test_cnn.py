import pytest
import torch
from torch import nn

from sweeper.config.settings import Activation
from sweeper.errors import TrainingError
from sweeper.models.build import check_model
from sweeper.models.cnn import build_cnn
from tests.support.models import n_parameters


def test_a_cnn_doubles_its_channels_and_halves_the_image() -> None:
    model = build_cnn((3, 12, 9), 7, depth=2, channels=4, kernel_size=5, batch_norm=True)
    # 12 x 9 -> 6 x 4 -> 3 x 2, 8 channels
    expected = (3 * 4 * 25 + 2 * 4) + (4 * 8 * 25 + 2 * 8) + (8 * 3 * 2 * 7 + 7)
    assert n_parameters(model) == expected
    check_model(model, (3, 12, 9), 7)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "elu", "leaky_relu"])
def test_the_maximum_may_come_before_a_monotone_activation(activation: Activation) -> None:
    model = build_cnn((1, 8, 8), 2, depth=1, channels=3, activation=activation)
    convolution, maximum, nonlinearity, *head = model.children()
    inputs = torch.randn(5, 1, 8, 8)
    usual = nn.Sequential(convolution, nonlinearity, maximum, *head)
    torch.testing.assert_close(model(inputs), usual(inputs), rtol=0, atol=1e-6)


def test_a_cnn_drops_before_its_head_only() -> None:
    model = build_cnn((1, 8, 8), 2, depth=1, dropout=0.1)
    layers = [type(layer).__name__ for layer in model.children()]
    assert layers == ["Conv2d", "MaxPool2d", "ReLU", "Flatten", "Dropout", "Linear"]


def test_a_cnn_too_deep_for_the_image_is_refused_with_the_largest_depth() -> None:
    check_model(build_cnn((1, 28, 30), 10, depth=4, channels=1), (1, 28, 30), 10)
    with pytest.raises(TrainingError, match="28 x 30 allows a depth of at most 4, got depth=5"):
        build_cnn((1, 28, 30), 10, depth=5, channels=1)


@pytest.mark.parametrize("kernel_size", [1, 4, 7])
def test_any_kernel_of_a_cnn_keeps_the_image(kernel_size: int) -> None:
    check_model(build_cnn((1, 9, 8), 10, depth=3, kernel_size=kernel_size), (1, 9, 8), 10)


@pytest.mark.parametrize("shape", [(1, 4, 9), (1, 9, 4)])
def test_the_shorter_side_bounds_the_depth_of_a_cnn(shape: tuple[int, ...]) -> None:
    assert build_cnn(shape, 10, depth=2)(torch.zeros(2, *shape)).shape == (2, 10)
    with pytest.raises(TrainingError, match=r"\d x \d allows a depth of at most 2, got depth=3"):
        build_cnn(shape, 10, depth=3)
