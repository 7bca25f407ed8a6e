"""Models by name: ``mlp``, ``cnn``, any of torchvision.models, and the user's own."""

from sweeper.models.activation import ACTIVATIONS, build_activation
from sweeper.models.build import BUILDERS, build_model, check_model, model_params
from sweeper.models.cnn import build_cnn
from sweeper.models.mlp import build_mlp

__all__ = [
    "ACTIVATIONS",
    "BUILDERS",
    "build_activation",
    "build_cnn",
    "build_mlp",
    "build_model",
    "check_model",
    "model_params",
]
