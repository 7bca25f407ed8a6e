"""Clips: files of sound -> log-mel frames on disk, of all that a trial may read of them.

    <cache_dir>/audio-0123456789abcdef/frames.bin    float32 [N, M, T], 0 after the end of a clip
                                       targets.bin   int64 [N], bool [N, K] or float32 [N, K]
                                       marks.bin     int32 [N], if the rows are not parted by share
                                       meta.json     with what the clips are

Each clip is opened twice: for its header first, as T is that of the longest.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sweeper.config.file_pattern import FILE
from sweeper.config.settings import DataConfig
from sweeper.data.audio.clips import Clip
from sweeper.data.audio.form import ClipForm
from sweeper.data.audio.log_mel import LogMel
from sweeper.data.content import Content
from sweeper.data.labelled.file_reader import FileReader
from sweeper.data.labelled.label_scan import LabelScan
from sweeper.data.labelled.pieces import Piece
from sweeper.data.labelled.reading import Reading, open_sources

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Rows that are in memory at a time as frames; and about so many samples, with their spectra.
_BLOCK_ROWS, _BLOCK_SAMPLES = 32, 2**20
#: Of a whole number of samples that was divided by one rate and is multiplied by another.
_ROUNDING = 1e-6


def write(config: DataConfig, folder: Path) -> Content:
    """Read the clips, first their headers and then all of them, and write their frames.

    Raises:
        DataError: If the rows do not hold what the study file says, or clips cannot be read.
    """
    column = config.params.get("column", FILE)
    reading = Reading.of(config, open_sources(config), column, _BLOCK_ROWS)
    scan, clips = LabelScan(reading), _ClipScan()
    with FileReader(column, "clips were looked at") as reader:
        for piece, _ in reading.pieces():
            clips.take(reader.each(scan.take(piece), Clip))
        labels = scan.settle(config.task)
    frames = _Frames(config.params, clips)
    with FileReader(column, "clips are read") as reader:
        encode = partial(frames.encode, reader=reader)
        arrays = scan.write(folder, labels, {"frames": ("float32", frames.shape)}, encode)
    return Content(arrays, {"labels": asdict(labels), "clips": asdict(frames.form())})


class _ClipScan:
    """Of the headers of all clips.

    Attributes:
        seconds: Of each.
        rates: Clips by their sample rate.
        channels: Clips by their number of channels.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.rates: Counter[int] = Counter()
        self.channels: Counter[int] = Counter()

    def take(self, clips: Iterable[Clip | None]) -> None:
        """Look at the next ones."""
        for clip in clips:
            if clip is not None:
                self.seconds.append(clip.seconds)
                self.rates[clip.sample_rate] += 1
                self.channels[clip.n_channels] += 1


class _Frames:
    """Makes frames of clips, in the order of their rows.

    Args:
        params: Of the data.
        clips: All of them.

    Attributes:
        shape: Of the frames of a clip.
    """

    def __init__(self, params: Mapping[str, Any], clips: _ClipScan) -> None:
        self._clips = clips
        self._rate: int = params["sample_rate"]
        self._max_seconds: float = params["max_seconds"]
        given = {"n_mels": params["n_mels"]} if "n_mels" in params else {}
        self._log_mel = LogMel(self._rate, **given)
        longest = math.ceil(max(clips.seconds) * self._rate - _ROUNDING)
        self._n_samples = min(longest, int(self._max_seconds * self._rate))
        self.shape = (self._log_mel.n_mels, self._log_mel.n_frames(self._n_samples))
        self._content = hashlib.sha256()

    def encode(self, piece: Piece, reader: FileReader) -> dict[str, NDArray[Any]]:
        """Frames of some rows, float32 [n, M, T]."""
        n_rows = max(_BLOCK_SAMPLES // self._n_samples, 1)
        blocks = [
            self._encode(reader.each(block, self._samples)) for block in piece.blocks(n_rows)
        ]
        return {"frames": np.concatenate([np.empty((0, *self.shape), np.float32), *blocks])}

    def _encode(self, clips: Iterable[NDArray[np.float32] | None]) -> NDArray[np.float32]:
        none = np.zeros(1, np.float32)  # of a clip that cannot be read, which the reader tells
        found = [none if clip is None else clip for clip in clips]
        # No longer than the longest here: most clips are short beside the longest of all.
        waves = np.zeros((len(found), max(map(len, found))), np.float32)
        for row, samples in enumerate(found):
            waves[row, : len(samples)] = samples
        frames = np.zeros((len(found), *self.shape), np.float32)
        frames[:, :, : self._log_mel.n_frames(waves.shape[1])] = self._log_mel(
            torch.from_numpy(waves)
        ).numpy()
        return frames

    def _samples(self, path: Path) -> NDArray[np.float32]:
        samples = Clip(path).samples(self._rate, self._max_seconds)
        with path.open("rb") as file:
            self._content.update(hashlib.file_digest(file, "sha256").digest())
        return samples

    def form(self) -> ClipForm:
        """What all of them are."""
        seconds = self._clips.seconds
        return ClipForm(
            n_clips=len(seconds),
            median_s=median(seconds),
            longest_s=max(seconds),
            rates={str(rate): n for rate, n in sorted(self._clips.rates.items())},
            channels={str(number): n for number, n in sorted(self._clips.channels.items())},
            n_cut=sum(each > self._max_seconds for each in seconds),
            max_seconds=self._max_seconds,
            sample_rate=self._rate,
            n_mels=self._log_mel.n_mels,
            digest=self._content.hexdigest(),
        )
