"""Clips as WAV, made of tones."""

import wave
from pathlib import Path

import numpy as np


def tone(hertz: float, seconds: float, rate: int = 8000) -> np.ndarray:
    """Samples in [-1, 1]."""
    return 0.5 * np.cos(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write_wav(path: Path, samples: np.ndarray, rate: int = 8000, *, width: int = 2) -> Path:
    """Samples [n] or [n, channels], as whole numbers of so many bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = np.round(samples * (2 ** (8 * width - 1) - 1)).astype("<i4")
    if width == 1:
        whole += 128
    content = whole.reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(content)
    return path
