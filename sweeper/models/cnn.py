"""A plain convolutional network."""

import math
from collections.abc import Sequence
from itertools import chain, pairwise

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
        depth: Blocks, >= 1; each halves H and W, or M, rounded down to 1 at least.
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
    is_image = len(input_shape) == 3
    n_inputs, sides = (input_shape[0], input_shape[1:]) if is_image else (1, input_shape[:1])
    _check_depth(depth, sides)
    widths = [n_inputs, *(channels * 2**block for block in range(depth))]
    blocks = [_block(*pair, kernel_size, activation, batch_norm) for pair in pairwise(widths)]
    n_features = widths[-1] * math.prod(side >> depth for side in sides)
    if not is_image:
        return FrameCnn(blocks, dropout, nn.Linear(2 * n_features, n_outputs))
    dropped = [Dropout(dropout)] if dropout > 0 else []
    last = [nn.Flatten(), *dropped, nn.Linear(n_features, n_outputs)]
    return nn.Sequential(*chain.from_iterable(blocks), *last)


def _block(
    n_inputs: int, n_maps: int, kernel_size: int, activation: Activation, batch_norm: bool
) -> list[nn.Module]:
    norm = [nn.BatchNorm2d(n_maps)] if batch_norm else []
    convolution = nn.Conv2d(n_inputs, n_maps, kernel_size, padding="same", bias=not batch_norm)
    return [convolution, *norm, nn.MaxPool2d(2), ACTIVATIONS[activation]()]


def _check_depth(depth: int, sides: Sequence[int]) -> None:
    largest = min(sides).bit_length() - 1
    if depth <= largest:
        return
    size = " x ".join(map(str, sides))
    what, allows, way_out = (
        ("image", f"{size} allows", "enlarge the images")
        if len(sides) == 2
        else ("bands", f"{size} allow", "take more bands")
    )
    raise TrainingError(
        f"model.architecture: cnn: each block halves the {what}, so {allows} a depth of at most "
        f"{largest}, got depth={depth}; lower it or {way_out}"
    )
