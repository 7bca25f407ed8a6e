"""Waveforms -> log-mel frames, for the cache and for models that are served."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sweeper.data.scale import mark_frames

#: A window of 25 ms every 10 ms, as is usual for speech.
_WINDOW_S, _HOP_S = 0.025, 0.010
#: Added to the power of each band, of samples in [-1, 1]: the noise of the last of 16 bits, some
#: 15 dB below, is then silence as any other.
_FLOOR = 1e-6


class LogMel(nn.Module):
    """The logarithm of a waveform's power in bands of the mel scale.

    Args:
        sample_rate: Samples a second, >= 100.
        n_mels: Bands M, >= 1, up to half the sample rate.
        mean: Of each band, taken off; none leaves the frames as they are.
        std: As ``mean``, > 0, what they are divided by.

    Attributes:
        n_mels: As given.
        hop: Samples from one frame to the next.
    """

    def __init__(
        self,
        sample_rate: int,
        n_mels: int = 40,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
    ) -> None:
        super().__init__()
        window = round(sample_rate * _WINDOW_S)
        self.n_mels = n_mels
        self.hop = round(sample_rate * _HOP_S)
        # Padded with zeros to a length at which the lowest band holds one frequency at least.
        step = min(sample_rate / window, _edges(sample_rate, n_mels)[1].item())
        self._n_fft = 2 ** math.ceil(math.log2(sample_rate / step))
        self._is_scaled = bool(mean)
        # A copy, as torch.export warns of the view that this is.
        self.register_buffer("window", torch.hann_window(window).clone())
        self.register_buffer("filters", mel_filters(sample_rate, self._n_fft, n_mels))
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32)[:, None])
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32)[:, None])

    def n_frames(self, n_samples: int) -> int:
        """Frames of so many samples."""
        return (n_samples - 1) // self.hop + 1

    def forward(self, waves: Tensor) -> Tensor:
        """Map samples to frames.

        Args:
            waves: float32 [B, S] in [-1, 1]; a clip ends at its last sample that is not 0.

        Returns:
            float32 [B, M, n_frames(S)]; exactly 0 after the end of a clip, and before it no
            frame is 0 in all bands. They do not depend on how many zeros follow the end.
        """
        spectra = torch.stft(
            waves,
            self._n_fft,
            self.hop,
            win_length=len(self.get_buffer("window")),
            window=self.get_buffer("window"),
            pad_mode="constant",  # what follows a clip in a batch
            return_complex=True,
        )
        power = self.get_buffer("filters") @ (spectra.real.square() + spectra.imag.square())
        frames = torch.log(power + _FLOOR)[:, :, : self.n_frames(waves.shape[1])]
        if self._is_scaled:
            frames = (frames - self.get_buffer("mean")) / self.get_buffer("std")
        places = torch.arange(1, waves.shape[1] + 1, device=waves.device)
        n_samples = ((waves != 0) * places).amax(1, keepdim=True)
        # A frame is one whose middle lies before the end.
        middles = torch.arange(frames.shape[2], device=waves.device) * self.hop
        return mark_frames(frames, (middles < n_samples)[:, None])


def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> Tensor:
    """Triangles that are 1 in the middle of their band, and 0 in that of its neighbours.

    Returns:
        The weight of each frequency of the transform, in [0, 1], float32
        [n_mels, n_fft // 2 + 1].

    Source: Davis and Mermelstein 1980; the mel scale is O'Shaughnessy's, 2595 lg(1 + f / 700).
    """
    edges = _edges(sample_rate, n_mels)
    frequencies = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0).float()


def _edges(sample_rate: int, n_mels: int) -> Tensor:
    """Frequencies in Hz at equal distances in mel, from 0 to half the rate, float64 [M + 2]."""
    highest = 2595 * math.log10(1 + sample_rate / 2 / 700)
    mels = torch.linspace(0, highest, n_mels + 2, dtype=torch.float64)
    return 700 * (10 ** (mels / 2595) - 1)
