"""Nonlinearities by the names that a study file uses."""

from collections.abc import Mapping

from torch import nn

from sweeper.config.settings import Activation

#: Each is built with torch's default arguments.
ACTIVATIONS: Mapping[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
}
