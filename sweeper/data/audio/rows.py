"""Rows of frames: as they lie in the cache, scaled a batch at a time by what training rows say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor

from sweeper.config.records import read_record
from sweeper.config.settings import DataConfig
from sweeper.data.audio.form import ClipForm, describe_clips
from sweeper.data.audio.log_mel import LogMel
from sweeper.data.audio.waves import WAVEFORM
from sweeper.data.content import CacheEntry
from sweeper.data.fingerprint import content_digest
from sweeper.data.labelled.labels import Labels
from sweeper.data.lengths import rows_at_once
from sweeper.data.preprocessing import Preprocessing
from sweeper.data.rows import Fitted, TensorRows, map_arrays
from sweeper.trial import Task


@dataclass(frozen=True)
class FrameRows:
    """All rows that a trial may read.

    Attributes:
        frames: float32 [N, M, T], 0 after the end of a clip.
        targets: As :func:`~sweeper.data.targets.read_targets` returns them.
        marks: int32 [N], the group of each row, or 1 where it is held out; None where a share is.
        labels: What the targets mean.
        clips: What the frames were made of.
        digest: Of all that, the same on every machine, which frames are not to the last bit.
    """

    frames: Tensor
    targets: Tensor
    marks: Tensor | None
    labels: Labels
    clips: ClipForm
    digest: str

    @property
    def task(self) -> Task:
        """Of the targets."""
        return self.labels.task

    def fit(self, train: Tensor, validation: Tensor) -> Fitted:  # noqa: ARG002
        """See :class:`~sweeper.data.rows.Rows`."""
        mean, std = _band_scale(self.frames, train)
        return Fitted(
            TensorRows(self.frames, self.targets, self.digest, None, self.task),
            mean=tuple(mean.tolist()),
            std=tuple(std.tolist()),
            frames=True,
            labels=self.labels,
            preprocessing=self._preprocessing(mean, std),
            inferred=describe_clips(self.clips),
            source=self.clips.digest,
        )

    def _preprocessing(self, mean: Tensor, std: Tensor) -> Preprocessing:
        rate = self.clips.sample_rate
        n_samples = self.frames.shape[2] * LogMel(rate, self.clips.n_mels).hop
        tone = [round(math.sin(2 * math.pi * place / 16), 4) for place in range(64)]
        strings = {
            "sample_rate": rate,
            "longest": min(n_samples, int(self.clips.max_seconds * rate)),
            "n_samples": n_samples,
            "example": {WAVEFORM: tone},
        }
        tensors = {"sample_rate": torch.tensor(rate), "mean": mean, "std": std}
        return Preprocessing("audio", strings, tensors)


def map_rows(entry: CacheEntry, config: DataConfig) -> FrameRows:  # noqa: ARG001
    """The clips of a cache entry."""
    labels = read_record(Labels, entry.content.about["labels"])
    clips = read_record(ClipForm, entry.content.about["clips"])
    arrays = map_arrays(entry)
    made_from = (clips.digest, clips.max_seconds, clips.sample_rate, clips.n_mels)
    meaning = repr((made_from, content_digest(arrays["targets"]), labels.classes))
    return FrameRows(
        arrays["frames"],
        arrays["targets"],
        arrays.get("marks"),
        labels,
        clips,
        sha256(meaning.encode()).hexdigest(),
    )


def _band_scale(frames: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each band over the frames of some rows.

    Args:
        frames: float32 [N, M, T], 0 after the end of a sample.
        rows: int64, at least one with a frame.

    Returns:
        float64 [M] each; the deviation of a band that never changes is 1.
    """
    n_frames = torch.zeros((), dtype=torch.float64)
    sums = squares = torch.zeros(frames.shape[1], dtype=torch.float64)
    for block in torch.split(rows, rows_at_once(frames)):
        values = frames[block]
        n_frames = n_frames + (values != 0).any(1).sum()
        sums = sums + values.sum((0, 2), dtype=torch.float64)
        # Without a copy of all values in double precision.
        squares = squares + torch.linalg.vector_norm(values, dim=(0, 2), dtype=torch.float64) ** 2
    mean = sums / n_frames
    std = (squares / n_frames - mean**2).clamp(min=0).sqrt()
    return mean, torch.where(std > 1e-6, std, 1.0)
