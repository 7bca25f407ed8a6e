"""Clips in folders and tables x every way to hold rows out, and bad ones."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sweeper.config.settings import DataConfig
from sweeper.data.audio.log_mel import LogMel
from sweeper.data.batches import Split
from sweeper.data.cache import open_cache
from tests.support.loaded_data import load, refusal
from tests.support.table_files import write_table
from tests.support.wav_files import tone, write_wav

VOICES = {"ann": 2000, "ben": 2500, "cleo": 3000, "dan": 3500}
HERTZ = {"low": 400, "high": 1600}
PATTERN = "{pitch}_{speaker}_{take}.wav"


def clip(pitch: str, speaker: str, take: int) -> np.ndarray:
    """Each take a little longer than the one before, and with each speaker's own tone in it."""
    seconds = 0.1 + 0.01 * take
    return tone(HERTZ[pitch], seconds) / 2 + tone(VOICES[speaker], seconds) / 2


CLIPS = {
    f"{pitch}_{speaker}_{take}.wav": clip(pitch, speaker, take)
    for pitch in HERTZ
    for speaker in VOICES
    for take in range(4)
}
HOLDOUTS: Mapping[str, Any] = {
    "share": 0.25,
    "group": {"by": "speaker", "share": 0.25},
    "column": {"column": "take", "value": 0, "test": 3},
    "path": {"path": "more"},
}


def write_clips(folder: Path, **changed: np.ndarray) -> Path:
    for name, samples in CLIPS.items():
        write_wav(folder / name, changed.get(name.removesuffix(".wav"), samples))
    return folder


def write_names(path: Path, folder: Path) -> Path:
    """A table that says what the names of the clips say."""
    names = [name.removesuffix(".wav").split("_") for name in CLIPS]
    columns = dict(zip(("pitch", "speaker", "take"), zip(*names, strict=True), strict=True))
    clips = [os.path.relpath(folder / name, path.parent) for name in CLIPS]
    return write_table(path, {"clip": clips, **columns})


def config_of(path: Path, validation: Any = 0.25, **others: Any) -> DataConfig:
    params = {
        "path": str(path),
        "target": "pitch",
        "sample_rate": 8000,
        "max_seconds": 0.2,
        **others,
    }
    params |= {"pattern": PATTERN} if path.is_dir() else {"column": "clip"}
    return DataConfig(name="audio", params=params, validation=validation)


def rows_of(split: Split) -> list[tuple[torch.Tensor, int]]:
    """Each sample without its padding, and its class."""
    found = []
    for inputs, targets in split.batches(5):
        for frames, target in zip(inputs, targets.tolist(), strict=True):
            found.append((frames[:, (frames != 0).any(0)], target))
    return found


def band_of(hertz: float) -> int:
    """The band that a tone is loudest in."""
    frames = LogMel(8000)(torch.from_numpy(tone(hertz, 0.1)).float()[None])
    return int(frames[0, :, 4].argmax())


@pytest.mark.parametrize("kind", ["folder", "table"])
@pytest.mark.parametrize("holdout", HOLDOUTS)
def test_clips_are_held_out_as_rows_of_a_table_are(
    tmp_path: Path, kind: str, holdout: str
) -> None:
    folder = write_clips(tmp_path / "clips")
    path = folder if kind == "folder" else write_names(tmp_path / "clips.csv", folder)
    validation = HOLDOUTS[holdout]
    if holdout == "path":
        write_clips(tmp_path / "more/clips")
        more = tmp_path / "more/clips"
        if kind == "table":
            more = write_names(tmp_path / "more.csv", more)
        validation = {"path": str(more)}
    data = load(config_of(path, validation), tmp_path)
    sizes = {"share": (24, 8), "group": (24, 8), "column": (16, 8), "path": (32, 32)}
    assert (data.info.n_train, data.info.n_validation) == sizes[holdout]
    assert data.info.frames
    assert data.info.classes == ("high", "low")
    assert data.info.input_shape == (40, 12 if holdout == "column" else 13)
    train, validation = rows_of(data.train), rows_of(data.validation)
    assert [len(train), len(validation)] == list(sizes[holdout])
    for frames, target in train + validation:
        levels = frames[[band_of(hertz) for hertz in HERTZ.values()]].mean(1)
        assert (levels[0] < levels[1]) == (target == 0)


def test_no_speaker_stands_on_both_sides(tmp_path: Path) -> None:
    """Each speaks another tone, by which the frames themselves tell who it was."""
    folder = write_clips(tmp_path / "clips")
    data = load(config_of(folder, HOLDOUTS["group"]), tmp_path)
    bands = [band_of(hertz) for hertz in VOICES.values()]
    mean, std = (torch.tensor(scale)[:, None] for scale in (data.info.mean, data.info.std))

    def speakers(split: Split) -> set[int]:
        levels = [(frames * std + mean)[bands, 2:6].mean(1) for frames, _ in rows_of(split)]
        return {int(level.argmax()) for level in levels}

    sides = speakers(data.train), speakers(data.validation)
    assert [len(side) for side in sides] == [3, 1]
    assert sides[0] | sides[1] == set(range(4))


def test_bands_are_scaled_by_the_frames_of_training_rows_alone(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips")
    holdout = {"column": "take", "value": 3}
    data = load(config_of(folder, holdout), tmp_path)
    frames = torch.cat([frames for frames, _ in rows_of(data.train)], 1)
    torch.testing.assert_close(frames.mean(1), torch.zeros(40), atol=1e-4, rtol=0)
    torch.testing.assert_close(frames.std(1, correction=0), torch.ones(40), atol=1e-4, rtol=0)
    changed = {f"{pitch}_ann_3": tone(200, 0.19) for pitch in HERTZ}
    write_clips(folder, **changed)
    again = load(config_of(folder, holdout), tmp_path / "again")
    assert again.info.fingerprint != data.info.fingerprint
    assert (again.info.mean, again.info.std) == (data.info.mean, data.info.std)
    write_clips(folder, high_ann_0=tone(200, 0.19))
    assert load(config_of(folder, holdout), tmp_path / "anew").info.mean != data.info.mean


def test_batches_are_as_long_as_their_longest_whether_they_stay_on_the_device(
    tmp_path: Path,
) -> None:
    config = config_of(write_clips(tmp_path / "clips"))
    data = load(config, tmp_path)
    sizes = [inputs.shape[2] for inputs, _ in data.train.batches(4)]
    assert sizes == sorted(sizes)
    assert [min(sizes), max(sizes)] == [10, 13]
    loaded = load(config, tmp_path, resident_bytes=0)
    for (inputs, targets), (others, same) in zip(
        data.train.batches(4), loaded.train.batches(4), strict=True
    ):
        assert torch.equal(inputs, others)
        assert torch.equal(targets, same)


def test_rows_of_the_test_are_not_even_decoded(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips")
    (folder / "low_ann_3.wav").write_bytes(b"RIFF")
    data = load(config_of(folder, HOLDOUTS["column"]), tmp_path)
    assert data.info.n_train == 16
    message = refusal(config_of(folder, {"column": "take", "value": 0}), tmp_path)
    assert message.startswith(f"{folder}/low_ann_3.wav: ")


def test_a_clip_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips")
    table = write_names(tmp_path / "clips.csv", folder)
    for path in (folder, table):
        config = config_of(path)
        before = open_cache(config, tmp_path / "cache")
        assert open_cache(config, tmp_path / "cache") == before
        write_wav(folder / "low_ann_0.wav", tone(440, 0.15))
        assert open_cache(config, tmp_path / "cache").digest != before.digest
        write_clips(folder)


def test_what_was_found_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_clips(tmp_path / "clips")
    write_wav(folder / "low_ann_0.wav", tone(440, 0.3, 16000), 16000)
    write_wav(folder / "low_ann_1.wav", np.stack([tone(440, 0.1)] * 2, 1))
    (folder / "README.md").write_text("clips")
    with caplog.at_level(logging.INFO, "sweeper"):
        data = load(config_of(folder), tmp_path)
    assert data.inferred == (
        "clips: 32 clips of 0.12 s in the median, the longest 0.3 s; 1 cut to 0.2 s, "
        "data.max_seconds; 16000 Hz in 1, brought to 8000 Hz; channels: 1 in 31, 2 in 1, "
        "averaged; 40 bands every 10 ms",
        "target pitch: classification, 2 classes (high in 16 rows, low in 16 rows); the commonest "
        "alone reaches val_accuracy 0.5",
    )
    assert f"{folder}: left out as of another kind: 1 file, such as README.md" in caplog.text


def test_clips_that_cannot_be_read_are_told_together(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips")
    table = write_names(tmp_path / "clips.csv", folder)
    for name in ("low_ann_0.wav", "low_dan_3.wav"):
        write_wav(folder / name, np.zeros(100))
    out = "holds silence alone; mend it, or leave it out"
    assert refusal(config_of(folder), tmp_path) == (
        f"{folder}/low_ann_0.wav: {out}\n{folder}/low_dan_3.wav: {out}"
    )
    assert refusal(config_of(table), tmp_path) == (
        f"{table}: row 1: {folder}/low_ann_0.wav: {out}\n"
        f"{table}: row 16: {folder}/low_dan_3.wav: {out}"
    )
    for name in list(CLIPS)[:8]:
        (folder / name).unlink()
    message = refusal(config_of(table), tmp_path)
    assert message.count("\n") == 4
    assert message.endswith("; there may be more")


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips")
    table = write_names(tmp_path / "clips.csv", folder)
    config = config_of(table, pattern=PATTERN)
    assert refusal(config, tmp_path) == (
        f"data.pattern: spells the names of files in a folder, and {table} is a file; drop it"
    )
    text = table.read_text().replace(",low,ann,0", ",low,ann,0\n,low,ann,9", 1)
    table.write_text(text)
    assert refusal(config_of(table), tmp_path) == (
        f"{table}: row 2: column 'clip' names no file; mend it, or drop the row"
    )
    config = DataConfig(name="table", params={"path": str(folder), "target": "pitch"})
    assert refusal(config, tmp_path) == (
        f"data.path: {folder} is a folder, and table reads a file of rows; name that"
    )
    assert refusal(config_of(folder, target="tone"), tmp_path) == (
        f"data.target: {folder} has no column 'tone'; known: file, pitch, speaker, take"
    )
