import torch
from torch import nn

from sweeper.models.mlp import build_mlp
from tests.support.models import n_parameters


def test_depth_one_and_width_128_is_the_classic_network() -> None:
    model = build_mlp((1, 28, 28), 10, depth=1, width=128)
    assert n_parameters(model) == 784 * 128 + 128 + 128 * 10 + 10
    linear = [module for module in model.children() if isinstance(module, nn.Linear)]
    inputs = torch.randn(3, 1, 28, 28)
    hidden = torch.relu(inputs.reshape(3, 784) @ linear[0].weight.T + linear[0].bias)
    expected = hidden @ linear[1].weight.T + linear[1].bias
    torch.testing.assert_close(model(inputs), expected, rtol=1e-5, atol=1e-6)


def test_depth_zero_is_logistic_regression() -> None:
    assert n_parameters(build_mlp((2, 3), 4, depth=0)) == 6 * 4 + 4


def test_every_hidden_layer_of_an_mlp_has_norm_activation_and_dropout() -> None:
    model = build_mlp((6,), 3, depth=2, width=5, activation="gelu", dropout=0.5, batch_norm=True)
    hidden = ["Linear", "BatchNorm1d", "GELU", "Dropout"]
    assert [type(layer).__name__ for layer in model.children()] == [
        "Flatten",
        *hidden,
        *hidden,
        "Linear",
    ]
    assert n_parameters(model) == 6 * 5 + 2 * 5 + 5 * 5 + 2 * 5 + 5 * 3 + 3
