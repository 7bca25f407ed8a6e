import pytest
import torch

from sweeper.data import lengths
from sweeper.data.lengths import frame_lengths, rows_at_once, token_lengths


def test_a_text_ends_before_its_padding() -> None:
    ids = torch.tensor([[4, 1, 0, 0], [2, 3, 4, 5], [0, 0, 0, 0]], dtype=torch.int32)
    assert token_lengths(ids).tolist() == [2, 4, 0]


def test_frames_end_after_the_last_that_is_not_silent_in_all_bands() -> None:
    frames = torch.zeros(3, 2, 4)
    frames[0, 1, 0] = frames[0, 0, 2] = -1.0  # the second point is 0 in both bands
    frames[1, 0, 3] = 0.5
    assert frame_lengths(frames).tolist() == [3, 4, 0]


@pytest.mark.parametrize("n_values", [2, 12])
def test_many_rows_are_looked_at_block_by_block(
    monkeypatch: pytest.MonkeyPatch, n_values: int
) -> None:
    monkeypatch.setattr(lengths, "_BLOCK_VALUES", n_values)  # one row of three, or four rows
    wanted = torch.arange(9) % 4
    ids = (torch.arange(3) < wanted[:, None]).int()
    assert torch.equal(token_lengths(ids), wanted)
    assert torch.equal(frame_lengths(ids[:, None].float()), wanted)


def test_of_long_samples_fewer_are_looked_at_together() -> None:
    hours = torch.empty(9, 40, 360_000, device="meta")
    assert [rows_at_once(frames) for frames in (hours, hours[:, :, :10])] == [1, 2**24 // 400]
