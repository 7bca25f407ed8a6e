import torch

from sweeper.data import lengths
from sweeper.data.lengths import frame_lengths, token_lengths


def test_a_text_ends_before_its_padding() -> None:
    ids = torch.tensor([[4, 1, 0, 0], [2, 3, 4, 5], [0, 0, 0, 0]], dtype=torch.int32)
    assert token_lengths(ids).tolist() == [2, 4, 0]


def test_frames_end_after_the_last_that_is_not_silent_in_all_bands() -> None:
    frames = torch.zeros(3, 2, 4)
    frames[0, 1, 0] = frames[0, 0, 2] = -1.0  # the second point is 0 in both bands
    frames[1, 0, 3] = 0.5
    assert frame_lengths(frames).tolist() == [3, 4, 0]


def test_many_rows_are_looked_at_block_by_block() -> None:
    n_rows = lengths._BLOCK_ROWS + 5
    wanted = torch.arange(n_rows) % 4
    ids = (torch.arange(3) < wanted[:, None]).int()
    assert torch.equal(token_lengths(ids), wanted)
    assert torch.equal(frame_lengths(ids[:, None].float()), wanted)
