"""The convolutional network on frames."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sweeper.errors import TrainingError
from sweeper.models.cnn import build_cnn
from sweeper.models.frame_cnn import FrameCnn

SMALL = {"depth": 2, "channels": 4}


def build(n_bands: int = 8, n_outputs: int = 3, **params: Any) -> FrameCnn:
    torch.manual_seed(0)
    model = build_cnn((n_bands, 9), n_outputs, **{**SMALL, **params})
    assert isinstance(model, FrameCnn)
    return model


def samples(lengths: list[int], n_frames: int, n_bands: int = 8) -> Tensor:
    """Frames that end, the same however many follow."""
    frames = torch.zeros(len(lengths), n_bands, n_frames)
    for index, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(index)
        frames[index, :, :length] = torch.randn(n_bands, length, generator=generator)
    return frames


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "gelu"])
@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("depth", [1, 3])
def test_answers_do_not_depend_on_the_padding(
    activation: str, kernel_size: int, depth: int
) -> None:
    model = build(activation=activation, kernel_size=kernel_size, depth=depth, batch_norm=True)
    with torch.no_grad():
        model(samples([31, 7, 20], 31))  # statistics that are not those of the beginning
    model.eval()
    lengths = [1, 6, 13]
    trimmed = model(samples(lengths, 13))
    for n_frames in (14, 16, 31, 64):
        torch.testing.assert_close(
            model(samples(lengths, n_frames)), trimmed, atol=1e-6, rtol=1e-6
        )
    for index, length in enumerate(lengths):
        alone = model(samples(lengths, 13)[index : index + 1, :, :length])
        torch.testing.assert_close(alone[0], trimmed[index], atol=1e-6, rtol=1e-6)


def test_gradients_do_not_depend_on_the_padding_without_batch_norm() -> None:
    model = build()
    gradients = []
    for n_frames in (13, 32):
        model.zero_grad()
        model(samples([6, 13], n_frames)).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def test_bands_stay_apart() -> None:
    """A sound an octave higher is another sound, as a mean over the bands would not tell."""
    model = build(n_bands=16).eval()
    low, high = torch.zeros(2, 16, 10)
    low[4:6], high[12:14] = 1.0, 1.0
    assert model.linear.in_features == 2 * 8 * 4
    outputs = model(torch.stack([low, high]))
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


def test_too_deep_for_the_bands_is_refused() -> None:
    with pytest.raises(TrainingError, match="so 8 allow a depth of at most 3, got depth=4; lower"):
        build(depth=4)
