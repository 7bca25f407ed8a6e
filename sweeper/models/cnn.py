"""A plain convolutional network."""

from torch import nn

from sweeper.config.settings import Activation
from sweeper.errors import TrainingError
from sweeper.models.activation import ACTIVATIONS
from sweeper.models.dropout import Dropout
from sweeper.models.frame_cnn import FrameCnn


def build_cnn(
    input_shape: tuple[int, ...],
    n_outputs: int,
    *,
    depth: int = 2,
    channels: int = 32,
    kernel_size: int = 3,
    activation: Activation = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> nn.Module:
    """``depth`` convolution blocks, each with twice the channels, then one linear layer.

    A block is convolution, normalisation, 2 x 2 maximum, activation. The maximum comes before the
    activation: for all but gelu and silu, which are not monotone, the result is the same as the
    other way round, at a quarter of the work.

    Args:
        input_shape: Of one sample, [C, H, W]; or [M, T] of frames, which
            :class:`~sweeper.models.frame_cnn.FrameCnn` takes, whatever T is.
        n_outputs: Outputs per sample, >= 1.
        depth: Blocks, >= 1; each halves H and W, rounded down, so ``min(H, W) >= 2**depth``.
        channels: Of the first block, >= 1.
        kernel_size: Side of the square kernel, >= 1; the padding keeps H and W.
        activation: In each block.
        dropout: Share of the inputs of the linear layer dropped while training, in [0, 1).
        batch_norm: Whether to normalise each convolution over the batch.

    Returns:
        A module float32 [B, *input_shape] -> outputs float32 [B, n_outputs].

    Raises:
        TrainingError: If the input is too small for the depth.
    """
    if len(input_shape) == 2:
        return FrameCnn(
            input_shape[0],
            n_outputs,
            depth=depth,
            channels=channels,
            kernel_size=kernel_size,
            activation=activation,
            dropout=dropout,
            batch_norm=batch_norm,
        )
    n_channels, height, width = input_shape
    _check_depth(depth, height, width)
    layers: list[nn.Module] = []
    for block in range(depth):
        n_maps = channels * 2**block
        layers.append(
            nn.Conv2d(n_channels, n_maps, kernel_size, padding="same", bias=not batch_norm)
        )
        if batch_norm:
            layers.append(nn.BatchNorm2d(n_maps))
        layers += [nn.MaxPool2d(2), ACTIVATIONS[activation]()]
        n_channels, height, width = n_maps, height // 2, width // 2
    layers.append(nn.Flatten())
    if dropout > 0:
        layers.append(Dropout(dropout))
    layers.append(nn.Linear(n_channels * height * width, n_outputs))
    return nn.Sequential(*layers)


def _check_depth(depth: int, height: int, width: int) -> None:
    largest = min(height, width).bit_length() - 1
    if depth > largest:
        raise TrainingError(
            f"model.architecture: cnn: each block halves the image, so {height} x {width} allows "
            f"a depth of at most {largest}, got depth={depth}; lower it or enlarge the images"
        )
