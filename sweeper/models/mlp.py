"""A fully connected network."""

import math

from torch import nn

from sweeper.config.settings import Activation
from sweeper.models.activation import ACTIVATIONS
from sweeper.models.dropout import Dropout


def build_mlp(
    input_shape: tuple[int, ...],
    n_outputs: int,
    *,
    depth: int = 2,
    width: int = 128,
    activation: Activation = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> nn.Module:
    """Flatten, then ``depth`` hidden layers of ``width`` units, then one linear layer.

    A hidden layer is linear, normalisation, activation, dropout, in this order.

    Args:
        input_shape: Of one sample, any number of axes.
        n_outputs: Outputs per sample, >= 1.
        depth: Hidden layers, >= 0; 0 is logistic regression.
        width: Units of each hidden layer, >= 1.
        activation: After each hidden layer.
        dropout: Share of hidden units dropped while training, in [0, 1).
        batch_norm: Whether to normalise each hidden layer over the batch.

    Returns:
        A module float32 [B, *input_shape] -> outputs float32 [B, n_outputs].
    """
    layers: list[nn.Module] = [nn.Flatten()]
    n_inputs = math.prod(input_shape)
    for _ in range(depth):
        layers.append(nn.Linear(n_inputs, width, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(ACTIVATIONS[activation]())
        if dropout > 0:
            layers.append(Dropout(dropout))
        n_inputs = width
    layers.append(nn.Linear(n_inputs, n_outputs))
    return nn.Sequential(*layers)
