"""Log-mel frames, held against what can be worked out otherwise."""

import math

import numpy as np
import pytest
import torch

from sweeper.data.audio.log_mel import LogMel, mel_filters
from sweeper.data.scale import FrameScale

RATE = 8000


def tone(hertz: float, n_samples: int, rate: int = RATE) -> torch.Tensor:
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(1, n_samples + 1) / rate)


def padded(*waves: torch.Tensor, to: int) -> torch.Tensor:
    return torch.stack([torch.nn.functional.pad(wave, (0, to - len(wave))) for wave in waves])


def test_frames_are_those_of_a_transform_by_hand() -> None:
    wave = torch.randn(900, generator=torch.Generator().manual_seed(0)) / 4
    frames = LogMel(RATE, 10)(wave[None])[0].numpy()
    assert frames.shape == (10, 12)
    samples = np.pad(wave.numpy().astype(np.float64), 128)
    window = np.pad(np.hanning(201)[:-1], 28)
    for frame in (0, 5, 11):
        spectrum = np.fft.rfft(samples[frame * 80 : frame * 80 + 256] * window)
        power = mel_filters(RATE, 256, 10).double().numpy() @ np.abs(spectrum) ** 2
        np.testing.assert_allclose(frames[:, frame], np.log(power + 1e-6), atol=1e-4)


@pytest.mark.parametrize(("rate", "n_mels"), [(8000, 40), (8000, 80), (16000, 128), (44100, 64)])
def test_every_band_holds_a_frequency_and_its_middle_is_a_tone(rate: int, n_mels: int) -> None:
    log_mel = LogMel(rate, n_mels)
    filters = log_mel.get_buffer("filters")
    assert filters.max() <= 1
    assert (filters.max(1).values > 0.4).all()
    highest = 2595 * math.log10(1 + rate / 2 / 700)
    for band in (3, n_mels // 2, n_mels - 2):
        hertz = 700 * (10 ** ((band + 1) * highest / (n_mels + 1) / 2595) - 1)
        frames = log_mel(tone(hertz, rate // 2, rate)[None])[0]
        assert (frames[:, 2:-2].argmax(0) == band).all()


def test_frames_end_with_the_clip_and_do_not_depend_on_what_follows() -> None:
    log_mel = LogMel(RATE, 20)
    waves = [tone(300, 1234), tone(500, 1), tone(700, 2000), torch.zeros(5)]
    frames = log_mel(padded(*waves, to=2000))
    assert frames.shape == (4, 20, log_mel.n_frames(2000))
    n_frames = (frames != 0).any(1).sum(1).tolist()
    assert n_frames == [16, 1, 25, 0]
    assert [log_mel.n_frames(len(wave)) for wave in waves[:3]] == n_frames[:3]
    for index, wave in enumerate(waves[:3]):
        alone = log_mel(wave[None])[0]
        torch.testing.assert_close(frames[index, :, : n_frames[index]], alone, atol=1e-5, rtol=0)
        assert not frames[index, :, n_frames[index] :].any()


def test_scaled_frames_are_those_of_a_scaled_transform() -> None:
    waves = padded(tone(300, 1234), tone(500, 700), to=1300)
    raw = LogMel(RATE, 12)(waves)
    is_frame = (raw != 0).any(1)
    values = raw.transpose(1, 2)[is_frame]
    mean, std = values.mean(0).tolist(), values.std(0).tolist()
    scaled = FrameScale(mean, std, device=torch.device("cpu"))(raw)
    assert torch.equal(scaled, LogMel(RATE, 12, mean, std)(waves))
    torch.testing.assert_close(
        scaled.transpose(1, 2)[is_frame].mean(0), torch.zeros(12), atol=1e-5, rtol=0
    )
    assert torch.equal((scaled != 0).any(1), is_frame)
