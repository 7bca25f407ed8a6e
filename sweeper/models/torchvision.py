"""The image classifiers of torchvision.models, fitted to the data.

torchvision is imported on first use: it takes half a second, and mlp and cnn do not need it.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from sweeper.errors import TrainingError
from sweeper.models.pretrained import Pretrained
from sweeper.trial import DataInfo


def classifier_names() -> list[str]:
    """Names of all image classifiers that the installed torchvision builds."""
    from torchvision import models

    return list(models.list_models(module=models))


def build_classifier(
    name: str,
    data: DataInfo,
    n_outputs: int,
    *,
    weights: str | None = "none",
    freeze: str = "none",
    **params: Any,
) -> nn.Module:
    """Build a torchvision classifier for images of any size and number of channels.

    The first convolution is replaced where it does not take C channels; its stride stays, so many
    architectures need images of 32 x 32 or more.

    Args:
        name: One of :func:`classifier_names`.
        data: Samples [C, H, W], and how they are scaled.
        n_outputs: Outputs per sample, >= 1.
        weights: ``none`` for random ones, or what
            :func:`~sweeper.models.pretrained.find_weights` takes.
        freeze: ``backbone`` to train the last layer alone; with weights only.
        **params: Handed to torchvision's builder.

    Returns:
        A module float32 [B, C, H, W] -> outputs float32 [B, n_outputs]. With ``weights`` it is a
        :class:`~sweeper.models.pretrained.Pretrained`, whose weights are yet to be loaded.

    Raises:
        TrainingError: If torchvision refuses the arguments, or weights mean nothing for the data.
    """
    n_channels, height, width = data.input_shape
    is_pretrained = weights not in (None, "none")
    _check_freeze(name, freeze, is_pretrained, n_channels)
    model, arguments = _build(name, (height, width), n_outputs, params, is_pretrained)
    if is_pretrained:
        assert weights is not None
        return Pretrained(
            name,
            model,
            weights=weights,
            arguments=arguments,
            is_frozen=freeze == "backbone",
            mean=data.mean,
            std=data.std,
        )
    _fit_first_convolution(model, n_channels)
    return model


def _check_freeze(name: str, freeze: str, is_pretrained: bool, n_channels: int) -> None:
    if freeze not in ("none", "backbone"):
        raise TrainingError(f"model.freeze: must be none or backbone, got {freeze}")
    if freeze == "backbone" and not is_pretrained:
        raise TrainingError(
            f"model.freeze: {name} begins with random weights, which must be trained; set "
            "model.weights: DEFAULT, or leave freeze out"
        )
    if is_pretrained and n_channels not in (1, 3):
        raise TrainingError(
            f"model.weights: those of {name} are for pictures of three channels, which grey ones "
            f"are given; got {n_channels} channels: take the three that count, or weights: none"
        )


def _build(
    name: str,
    size: tuple[int, int],
    n_outputs: int,
    params: Mapping[str, Any],
    is_pretrained: bool,
) -> tuple[nn.Module, dict[str, Any]]:
    """The network as torchvision builds it, and the arguments beside the number of outputs."""
    from torchvision import models

    height, width = size
    builder = models.get_model_builder(name)
    accepted = inspect.signature(inspect.signature(builder).return_annotation).parameters
    fitted = {
        "image_size": height,
        "input_size": (height, width),
        "aux_logits": False,  # a tuple of outputs otherwise
    }
    arguments = {key: value for key, value in fitted.items() if key in accepted} | dict(params)
    random: dict[str, Any] = {"weights": None, "num_classes": n_outputs}
    if "init_weights" in accepted:
        random["init_weights"] = True  # what leaving it out means, less a warning
    if is_pretrained and "transform_input" in accepted:
        random["transform_input"] = True  # as torchvision has it with weights
    try:
        model: nn.Module = builder(**{**random, **arguments})
    except (TypeError, ValueError, AssertionError) as exc:
        settings = [
            key
            for key, parameter in accepted.items()
            if isinstance(parameter.default, bool | int | float) and key not in fitted
        ]
        settings.remove("num_classes")
        known = ", ".join(settings) or "nothing"
        raise TrainingError(
            f"model.architecture: {name} cannot be built for images of {height} x {width} "
            f"with {dict(params)}: {exc}; beside the image size it takes {known}"
        ) from exc
    return model, arguments


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
