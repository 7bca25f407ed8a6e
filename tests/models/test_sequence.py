"""Worked out by hand: two samples, the second of one step."""

import pytest
import torch

from sweeper.errors import TrainingError
from sweeper.models.sequence import (
    FrameInput,
    TextEmbedding,
    pooled,
    reversed_steps,
    sequence_input,
    taken,
)
from sweeper.trial import DataInfo

LENGTHS = torch.tensor([3, 1])
#: The last step of the first sample, and the last two of the second, are padding.
STEPS = torch.tensor(
    [
        [[1.0, -2.0], [3.0, -4.0], [2.0, -9.0], [7.0, 7.0]],
        [[5.0, -6.0], [8.0, 8.0]] + [[9.0, 9.0]] * 2,
    ]
)


def test_padding_is_in_no_mean_and_in_no_maximum() -> None:
    assert pooled(STEPS, LENGTHS, "mean").tolist() == [[2.0, -5.0], [5.0, -6.0]]
    assert pooled(STEPS, LENGTHS, "max").tolist() == [[3.0, -2.0], [5.0, -6.0]]


def test_what_is_read_backwards_is_read_from_its_end_and_padding_stays() -> None:
    steps = reversed_steps(LENGTHS, 4)
    assert steps.tolist() == [[2, 1, 0, 3], [0, 1, 2, 3]]
    backwards = taken(STEPS, steps)
    assert backwards[0, :, 0].tolist() == [2.0, 3.0, 1.0, 7.0]
    assert torch.equal(taken(backwards, steps), STEPS)


def test_a_text_ends_where_its_ids_do_and_has_one_step_at_least() -> None:
    embed = TextEmbedding(6, 3)
    features, lengths = embed(torch.tensor([[5, 1, 0], [0, 0, 0]]))
    assert lengths.tolist() == [2, 1]
    assert features.shape == (2, 3, 3)
    assert features[1].tolist() == [[0.0] * 3] * 3
    features[0, 0].sum().backward()
    assert embed.words.weight.grad is not None
    assert embed.words.weight.grad[0].tolist() == [0.0] * 3


def test_frames_end_after_the_last_that_is_not_silent() -> None:
    frames = torch.zeros(2, 2, 4)
    frames[0, 1, 2] = -0.5
    features, lengths = FrameInput(2)(frames)
    assert lengths.tolist() == [3, 1]
    assert features[0, 2].tolist() == [0.0, -0.5]


def test_what_has_no_time_is_refused() -> None:
    with pytest.raises(
        TrainingError, match=r"or frames \[M, T\], got samples of shape \[4\]; take "
    ):
        sequence_input(DataInfo("own", "0" * 16, (4,), 2, 9, 3), 8)
