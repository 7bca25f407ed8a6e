"""What the architectures that take images alone have in common."""

from sweeper.errors import TrainingError


def image_shape(architecture: str, input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """C, H and W of a sample.

    Raises:
        TrainingError: If the sample is no image.
    """
    if len(input_shape) != 3:
        raise TrainingError(
            f"model.architecture: {architecture} takes images [C, H, W], got samples of shape "
            f"{list(input_shape)}; take mlp, or give the data that shape"
        )
    n_channels, height, width = input_shape
    return n_channels, height, width
