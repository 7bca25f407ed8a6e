"""Frames on one scale."""

import torch

from sweeper.data.scale import FrameScale


def test_a_frame_that_is_the_mean_is_a_frame_all_the_same() -> None:
    raw = torch.tensor([[[1.0, 3.0, 0.0], [2.0, 5.0, 0.0]]])
    scaled = FrameScale([1.0, 2.0], [1.0, 2.0], device=torch.device("cpu"))(raw)
    assert (scaled != 0).any(1).tolist() == [[True, True, False]]
    torch.testing.assert_close(scaled[0, :, 1], torch.tensor([2.0, 1.5]), atol=0, rtol=0)
    torch.testing.assert_close(scaled[0, :, 0], torch.zeros(2), atol=1e-5, rtol=0)
