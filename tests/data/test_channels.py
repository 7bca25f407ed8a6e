import numpy as np
import pytest

from sweeper.data.channels import ChannelSums


def test_channels_of_colour_images_are_normalised_apart() -> None:
    images = np.zeros((2, 3, 1, 2), dtype=np.uint8)
    images[:, 0] = [[10, 20]]
    images[:, 1] = 51
    sums = ChannelSums.of(images)
    assert sums == ChannelSums(4, (60, 204, 0), (1000, 10404, 0))
    assert sums.mean() == (15 / 255, 0.2, 0.0)
    # A constant channel is only shifted.
    assert sums.std() == (pytest.approx(5 / 255), 1.0, 1.0)
