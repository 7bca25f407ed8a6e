"""The image classifiers of torchvision.models, with random weights, fitted to the data.

torchvision is imported on first use: it takes half a second, and mlp and cnn do not need it.
"""

import inspect
from typing import Any

from torch import nn

from sweeper.errors import TrainingError
from sweeper.models.images import image_shape


def classifier_names() -> list[str]:
    """Names of all image classifiers that the installed torchvision builds."""
    from torchvision import models

    return list(models.list_models(module=models))


def build_classifier(
    name: str, input_shape: tuple[int, ...], n_outputs: int, **params: Any
) -> nn.Module:
    """Build a torchvision classifier for images of any size and number of channels.

    The first convolution is replaced where it does not take C channels; its stride stays, so many
    architectures need images of 32 x 32 or more.

    Args:
        name: One of :func:`classifier_names`.
        input_shape: Of one sample, [C, H, W].
        n_outputs: Outputs per sample, >= 1.
        **params: Handed to torchvision's builder.

    Returns:
        A module float32 [B, C, H, W] -> outputs float32 [B, n_outputs].

    Raises:
        TrainingError: If the input is no image, or torchvision refuses the arguments.
    """
    from torchvision import models

    n_channels, height, width = image_shape(name, input_shape)
    builder = models.get_model_builder(name)
    accepted = inspect.signature(inspect.signature(builder).return_annotation).parameters
    fitted = {
        "image_size": height,
        "input_size": (height, width),
        "aux_logits": False,  # a tuple of outputs otherwise
        "init_weights": True,  # what leaving it out means, less a warning
    }
    arguments = {key: value for key, value in fitted.items() if key in accepted} | params
    try:
        model: nn.Module = builder(weights=None, num_classes=n_outputs, **arguments)
    except (TypeError, ValueError, AssertionError) as exc:
        settings = [
            key
            for key, parameter in accepted.items()
            if isinstance(parameter.default, bool | int | float) and key not in fitted
        ]
        settings.remove("num_classes")
        raise TrainingError(
            f"model.architecture: {name} cannot be built for images {list(input_shape)} with "
            f"{params}: {exc}; beside the image size it takes {', '.join(settings) or 'nothing'}"
        ) from exc
    _fit_first_convolution(model, n_channels)
    return model


def _fit_first_convolution(model: nn.Module, n_channels: int) -> None:
    name, first = next(
        (name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)
    )
    if first.in_channels == n_channels:
        return
    replacement = nn.Conv2d(
        n_channels,
        first.out_channels,
        kernel_size=first.kernel_size,  # type: ignore[arg-type]
        stride=first.stride,  # type: ignore[arg-type]
        padding=first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    model.set_submodule(name, replacement)
