"""Files of sound, whole and damaged."""

import builtins
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeper.data.audio.clips import Clip
from sweeper.errors import DataError
from tests.support.wav_files import tone, write_wav


def read(path: Path, seconds: float = 2.0) -> np.ndarray:
    return Clip(path).samples(8000, seconds)


def refusal(path: Path, seconds: float = 2.0) -> str:
    with pytest.raises(DataError) as caught:
        read(path, seconds)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_plain_samples_of_any_width(tmp_path: Path, width: int) -> None:
    wave = tone(440, 0.3)
    clip = Clip(write_wav(tmp_path / "a.wav", wave, width=width))
    samples = clip.samples(8000, 2.0)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples, wave, atol=2.0 ** (2 - 8 * width))
    assert (clip.seconds, clip.sample_rate, clip.n_channels) == (0.3, 8000, 1)


def test_channels_are_averaged_and_zeros_at_the_end_cut_off(tmp_path: Path) -> None:
    left = np.array([0.5, 0.0, -0.5, 0.25, 0.0, 0.0])
    right = np.array([0.5, 0.5, 0.0, 0.25, 0.0, 0.0])
    clip = Clip(write_wav(tmp_path / "a.wav", np.stack([left, right], 1)))
    np.testing.assert_allclose(clip.samples(8000, 2.0), [0.5, 0.25, -0.25, 0.25], atol=1e-4)
    assert (clip.n_channels, clip.seconds) == (2, 6 / 8000)


@pytest.mark.parametrize("rate", [16000, 11025, 4000])
def test_another_rate_is_brought_to_the_wanted_one(tmp_path: Path, rate: int) -> None:
    clip = Clip(write_wav(tmp_path / "a.wav", tone(440, 0.5, rate), rate))
    assert clip.sample_rate == rate
    np.testing.assert_allclose(
        clip.samples(8000, 2.0)[200:3800], tone(440, 0.5)[200:3800], atol=0.05
    )


def test_what_is_longer_is_cut(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(440, 1.5))
    assert Clip(path).seconds == 1.5
    assert len(read(path, 1.0)) == 8000
    assert np.array_equal(read(path, 1.0), read(path)[:8000])


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.flac", {}), ("a.ogg", {}), ("a.mp3", {}), ("a.wav", {"subtype": "FLOAT"}),
     ("a.wav", {"subtype": "PCM_16", "format": "WAVEX"})],
)  # fmt: skip
def test_other_forms_are_read_by_soundfile(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    soundfile = pytest.importorskip("soundfile", reason="pip install 'sweeper[audio]'")
    wave = np.stack([tone(440, 1.0, 16000)] * 2, 1)
    soundfile.write(tmp_path / name, wave, 16000, **options)
    clip = Clip(tmp_path / name)
    assert (clip.sample_rate, clip.n_channels) == (16000, 2)
    assert abs(clip.seconds - 1.0) < 0.1
    spectrum = np.abs(np.fft.rfft(clip.samples(8000, 2.0)[2000:6000]))
    assert spectrum.argmax() == 220  # of steps of 2 Hz


def test_without_soundfile_the_way_to_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "soundfile":
            raise ImportError(name)
        return imported(name, *args, **options)

    (tmp_path / "a.mp3").write_bytes(b"ID3 and more")
    monkeypatch.setattr(builtins, "__import__", without)
    assert refusal(tmp_path / "a.mp3") == (
        "is no WAV of plain samples (file does not start with RIFF id), and soundfile, which "
        "reads other WAV, FLAC, OGG and MP3, cannot be imported; run: pip install 'sweeper[audio]'"
    )
    assert len(read(write_wav(tmp_path / "a.wav", tone(440, 0.1)))) == 800


def test_what_cannot_be_heard_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert refusal(path) == "no such file; mend it, or leave it out"
    assert refusal(tmp_path / ("a" * 999)) == "no such file; mend it, or leave it out"
    assert refusal(write_wav(path, np.zeros(0))) == "holds no samples; mend it, or leave it out"
    assert refusal(write_wav(path, np.zeros(9))) == "holds silence alone; mend it, or leave it out"
    write_wav(path, np.append(np.zeros(8000), tone(440, 1)))
    assert refusal(path, seconds=1.0) == (
        "holds silence alone in its first 1 s, data.max_seconds; mend it, or leave it out"
    )


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(440, 1))
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    assert refusal(path) == (
        "is cut off: its header tells 8,000 samples, and there are 478; mend it, or leave it out"
    )
    path.write_bytes(content[:24] + struct.pack("<I", 0) + content[28:])
    assert refusal(path) == "its header tells 0 samples a second; mend it, or leave it out"
    path.write_bytes(content[:24] + struct.pack("<I", 10_000_001) + content[28:])
    assert refusal(path) == "its header tells 10000001 samples a second; mend it, or leave it out"


#: Of a WAV whose samples have eight bytes, and of one whose first chunk is longer than the file.
ODD_HEADERS = [
    b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0\0\0\0\0\x08\0\x40\0data\x08\0\0\0"
    + b"\1" * 8,
    b"RIFF\x10\0\0\0WAVEjunk\xff\xff\xff\x7f" + b"\1" * 8,
]


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all" * 9, *ODD_HEADERS])
def test_what_is_no_sound_is_refused(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("soundfile", reason="pip install 'sweeper[audio]'")
    for name in ("a.wav", "a.raw"):
        (tmp_path / name).write_bytes(content)
        assert refusal(tmp_path / name).startswith("cannot be read: ")


def test_a_sample_that_is_no_number_is_refused(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="pip install 'sweeper[audio]'")
    soundfile.write(tmp_path / "a.wav", np.array([0.5, np.nan]), 8000, subtype="FLOAT")
    assert refusal(tmp_path / "a.wav") == "a sample is not finite; mend it, or leave it out"
