"""Files of sound -> samples: one channel, at the rate that is asked for."""

from __future__ import annotations

import math
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeper.data.labelled.file_reader import is_regular
from sweeper.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OUT = "mend it, or leave it out"
#: Of a plain sample in bytes.
_WIDEST = 4
#: No sound has more; to bring billions to another rate would take all memory.
_MOST_HZ = 1_000_000


class Clip:
    """A file of sound, of which so far the header is read.

    WAV of plain samples is read by Python itself, all else by soundfile.

    Args:
        path: Of the file.

    Attributes:
        seconds: Of all of it.
        sample_rate: In Hz.
        n_channels: That it has.

    Raises:
        DataError: If it cannot be read, or holds no samples.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not is_regular(path):
            raise DataError(f"{path}: no such file; {_OUT}")
        self._read: Callable[[int], NDArray[np.float64]] = self._read_plain
        try:
            with wave.open(str(path), "rb") as file:
                form = file.getnframes(), file.getframerate(), file.getnchannels()
                if file.getsampwidth() > _WIDEST:
                    raise wave.Error(f"samples of {file.getsampwidth()} bytes")
        except (wave.Error, EOFError, RuntimeError) as exc:  # the last of a chunk that is too long
            with self._opened(exc) as file:
                form = file.frames, file.samplerate, file.channels
            self._read = self._read_other
        except OSError as exc:
            raise DataError(f"{path}: cannot be read: {exc.strerror}; {_OUT}") from exc
        self._n_samples, self.sample_rate, self.n_channels = form
        if not 0 < self.sample_rate <= _MOST_HZ:
            raise DataError(
                f"{path}: its header tells {self.sample_rate} samples a second; {_OUT}"
            )
        if self._n_samples <= 0:
            raise DataError(f"{path}: holds no samples; {_OUT}")
        self.seconds = self._n_samples / self.sample_rate

    def samples(self, sample_rate: int, max_seconds: float) -> NDArray[np.float32]:
        """The first seconds, as one channel.

        Args:
            sample_rate: To which they are brought, in Hz.
            max_seconds: What comes later is cut off.

        Returns:
            In [-1, 1], float32 [n], the last of them not 0.

        Raises:
            DataError: If they cannot be read, or are silence.
        """
        is_cut = self.seconds > max_seconds
        n_wanted = math.ceil(max_seconds * self.sample_rate) + 1 if is_cut else self._n_samples
        found = self._read(n_wanted)
        if not len(found):
            raise DataError(f"{self._path}: holds no samples; {_OUT}")
        if not np.isfinite(found).all():
            raise DataError(f"{self._path}: a sample is not finite; {_OUT}")
        one = _resampled(found.mean(1), self.sample_rate, sample_rate)
        one = one[: int(max_seconds * sample_rate)].astype(np.float32)
        (sounding,) = one.nonzero()
        if not len(sounding):
            where = f" in its first {max_seconds:g} s, data.max_seconds" if is_cut else ""
            raise DataError(f"{self._path}: holds silence alone{where}; {_OUT}")
        return one[: sounding[-1] + 1]

    def _read_plain(self, n_wanted: int) -> NDArray[np.float64]:
        with wave.open(str(self._path), "rb") as file:
            width = file.getsampwidth()
            content = file.readframes(n_wanted)
        n_samples = len(content) // (width * self.n_channels)
        if n_samples < n_wanted:
            raise DataError(
                f"{self._path}: is cut off: its header tells {self._n_samples:,} samples, and "
                f"there are {n_samples:,}; {_OUT}"
            )
        return _as_floats(content, width).reshape(n_samples, self.n_channels)

    def _read_other(self, n_wanted: int) -> NDArray[np.float64]:
        with self._opened() as file:
            samples: NDArray[np.float64] = file.read(n_wanted, dtype="float64", always_2d=True)
        return samples

    @contextmanager
    def _opened(self, fault: Exception | None = None) -> Iterator[Any]:
        """By soundfile, as Python itself found a fault."""
        try:
            import soundfile
        except ImportError as exc:
            raise DataError(
                f"{self._path}: is no WAV of plain samples ({str(fault) or 'it is torn'}), and "
                "soundfile, which reads other WAV, FLAC, OGG and MP3, cannot be imported; run: "
                "pip install 'sweeper[audio]'"
            ) from exc
        try:
            with soundfile.SoundFile(self._path) as file:
                yield file
        except (soundfile.SoundFileError, OSError, TypeError) as exc:  # the last of what is raw
            raise DataError(f"{self._path}: cannot be read: {exc}; {_OUT}") from exc


def _as_floats(content: bytes, width: int) -> NDArray[np.float64]:
    """Whole numbers of some bytes, the lowest byte first, in [-1, 1)."""
    if width == 1:  # these alone are unsigned
        return (np.frombuffer(content, np.uint8) - 128.0) / 128
    parts = np.frombuffer(content, np.uint8).reshape(-1, width)
    whole = np.zeros((len(parts), 4), np.uint8)
    whole[:, 4 - width :] = parts
    return whole.view("<i4")[:, 0] / 2.0**31


def _resampled(samples: NDArray[Any], rate: int, wanted: int) -> NDArray[Any]:
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    resampled: NDArray[Any] = resample_poly(samples, wanted // common, rate // common)
    return resampled
