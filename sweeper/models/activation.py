"""Nonlinearities by the names that a study file uses."""

from collections.abc import Mapping

from torch import nn

from sweeper.config.settings import Activation
from sweeper.errors import TrainingError

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
}


def build_activation(name: Activation) -> nn.Module:
    """The activation of that name, with torch's default arguments.

    Raises:
        TrainingError: If there is none of that name.
    """
    if name not in ACTIVATIONS:
        raise TrainingError(
            f"model.activation: must be one of {', '.join(ACTIVATIONS)}, got {name!r}"
        )
    return ACTIVATIONS[name]()
