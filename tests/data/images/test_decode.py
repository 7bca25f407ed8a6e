"""Pictures in folders and tables x every way to hold rows out, and bad ones."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sweeper.config.settings import DataConfig
from sweeper.data.batches import Split
from sweeper.data.dataset import TrialData
from sweeper.data.labelled import file_reader
from tests.support.loaded_data import load, refusal
from tests.support.picture_files import COLOURS, picture, write_pictures
from tests.support.table_files import write_table

#: As the pictures are named: the take, of which there are five, and the number.
PATTERN = "{kind}/{take}_{number}.png"
HOLDOUTS: Mapping[str, Any] = {
    "share": 0.2,
    "group": {"by": "take", "share": 0.2},
    "column": {"column": "take", "value": 0, "test": 3},
    "path": {"path": "more"},
}


def config_of(path: Path, validation: Any = 0.2, **params: Any) -> DataConfig:
    given = {"path": str(path), "target": "kind", **params}
    given |= {"pattern": PATTERN} if path.is_dir() else {"column": "picture"}
    return DataConfig(name="images", params=given, validation=validation)


def write_names(path: Path, folder: Path) -> Path:
    """A table that says what the names of the pictures say."""
    files = sorted(folder.glob("*/*.png"))
    takes, numbers = zip(*(file.stem.split("_") for file in files), strict=True)
    return write_table(
        path,
        {
            "picture": [str(file.relative_to(path.parent)) for file in files],
            "kind": [file.parent.name for file in files],
            "take": takes,
            "number": numbers,
        },
    )


def pixels_of(data: TrialData, split: Split) -> list[tuple[np.ndarray, str]]:
    """Each sample as it was in its file, and the name of its class."""
    mean, std = (torch.tensor(scale).view(-1, 1, 1) for scale in (data.info.mean, data.info.std))
    return [
        ((sample * std + mean).mul(255).round().numpy(), data.info.classes[target])
        for inputs, targets in split.batches(5)
        for sample, target in zip(inputs, targets.tolist(), strict=True)
    ]


def numbers_of(data: TrialData, split: Split) -> list[tuple[str, int]]:
    """Which of the pictures of ``picture`` the samples are."""
    known = {
        np.asarray(picture(name, number)).transpose(2, 0, 1).tobytes(): (name, number)
        for name in COLOURS
        for number in range(10)
    }
    found = [known[p.astype(np.uint8).tobytes()] for p, _ in pixels_of(data, split)]
    assert [name for name, _ in found] == [name for _, name in pixels_of(data, split)]
    return found


@pytest.mark.parametrize("kind", ["folder", "table"])
@pytest.mark.parametrize("resident_bytes", [2**30, 0], ids=["resident", "loader"])
@pytest.mark.parametrize("holdout", HOLDOUTS)
def test_pictures_are_held_out_as_rows_of_a_table_are(
    tmp_path: Path, kind: str, holdout: str, resident_bytes: int
) -> None:
    folder = write_pictures(tmp_path / "pets")
    validation = HOLDOUTS[holdout]
    if holdout == "path":
        validation = {"path": str(write_pictures(tmp_path / "more", n_each=2))}
    path = folder
    if kind == "table":
        path = write_names(tmp_path / "pets.csv", folder)
        if holdout == "path":
            validation = {"path": str(write_names(tmp_path / "more.csv", tmp_path / "more"))}
    data = load(config_of(path, validation), tmp_path, resident_bytes=resident_bytes)
    assert data.info.classes == ("cat", "dog")
    assert data.info.input_shape == (3, 6, 8)
    sides = [numbers_of(data, split) for split in (data.train, data.validation)]
    assert [len(side) for side in sides] == [data.info.n_train, data.info.n_validation]
    takes = [{number % 5 for _, number in side} for side in sides]
    if holdout == "share":
        assert not set(sides[0]) & set(sides[1])
        assert [len(side) for side in sides] == [16, 4]
    elif holdout == "group":
        assert not takes[0] & takes[1]
        assert [len(side) for side in sides] == [16, 4]
    elif holdout == "column":
        assert takes == [{1, 2, 4}, {0}]
    else:
        assert [len(side) for side in sides] == [20, 4]
        assert sorted(sides[1]) == [("cat", 0), ("cat", 1), ("dog", 0), ("dog", 1)]


def test_the_folder_that_a_picture_lies_in_is_its_class(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pets")
    data = load(DataConfig(name="images", params={"path": str(folder)}), tmp_path)
    assert data.info.name == "pets"
    assert data.info.classes == ("cat", "dog")
    assert data.inferred == (
        "pets: 20 pictures (RGB in 20), taken as coloured, 6 x 8",
        "target label: classification, 2 classes (cat in 10 rows, dog in 10 rows); the commonest "
        "alone reaches val_accuracy 0.5",
    )


def test_a_folder_that_is_called_as_a_number_is_a_class(tmp_path: Path) -> None:
    numbers = write_pictures(tmp_path / "numbers")
    (numbers / "cat").rename(numbers / "07")
    (numbers / "dog").rename(numbers / "7")
    data = load(DataConfig(name="images", params={"path": str(numbers)}), tmp_path)
    assert (data.info.task, data.info.classes) == ("classification", ("07", "7"))
    both = tmp_path / "both"
    shutil.copytree(numbers, both)
    shutil.copytree(numbers / "7", both / "other")
    data = load(DataConfig(name="images", params={"path": str(both)}), tmp_path)
    assert data.info.classes == ("07", "7", "other")


def test_pixels_are_normalised_by_training_rows_alone(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pets")
    data = load(config_of(folder, {"column": "take", "value": 0}), tmp_path)
    trained = [
        np.asarray(picture(name, number)) / 255
        for name in COLOURS
        for number in range(10)
        if number % 5
    ]
    pixels = np.stack(trained)
    np.testing.assert_allclose(data.info.mean, pixels.mean((0, 1, 2)), atol=1e-12)
    np.testing.assert_allclose(data.info.std, pixels.std((0, 1, 2)), atol=1e-12)


def test_pictures_without_colour_have_one_channel_unless_asked(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pets")
    for file in folder.glob("*/*.png"):
        Image.open(file).convert("L").save(file)
    assert load(config_of(folder), tmp_path).info.input_shape == (1, 6, 8)
    assert load(config_of(folder, channels=3), tmp_path).info.input_shape == (3, 6, 8)
    picture("cat", 0).save(folder / "cat/0_0.png")
    data = load(config_of(folder), tmp_path)
    assert data.info.input_shape == (3, 6, 8)
    assert "20 pictures (L in 19, RGB in 1), taken as coloured, 6 x 8" in data.inferred[0]


def test_pictures_of_different_sizes_are_two_files_and_the_way_out(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pets")
    picture("dog", 7, (9, 9)).save(folder / "dog/2_7.png")
    assert refusal(config_of(folder), tmp_path) == (
        f"{folder}/dog/2_7.png: is 9 x 9, and {folder}/cat/0_0.png is 6 x 8; say by data.size "
        "which size all are to be brought to"
    )
    assert load(config_of(folder, size=4), tmp_path).info.input_shape == (3, 4, 4)
    assert load(config_of(folder, size=[4, 5]), tmp_path).info.input_shape == (3, 4, 5)


def test_files_that_cannot_be_read_are_named_together(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pets")
    for name in ("cat/0_0.png", "dog/1_1.png"):
        (folder / name).write_text("no picture")
    lines = refusal(config_of(folder), tmp_path).splitlines()
    assert lines == [
        f"{folder}/{name}: is no picture that Pillow knows; remove or replace it"
        for name in ("cat/0_0.png", "dog/1_1.png")
    ]
    for file in folder.glob("*/*.png"):
        file.write_text("no picture")
    lines = refusal(config_of(folder), tmp_path).splitlines()
    assert len(lines) == 5
    assert lines[-1].endswith("; there may be more")


def test_pictures_of_the_test_are_not_read(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pets")
    for file in folder.glob("*/3_*.png"):
        file.write_text("no picture")
    data = load(config_of(folder, {"column": "take", "value": 0, "test": 3}), tmp_path)
    assert (data.info.n_train, data.info.n_validation) == (12, 4)


def test_a_picture_may_have_several_labels_or_a_number(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pets")
    files = sorted(str(file.relative_to(tmp_path)) for file in folder.glob("*/*.png"))
    columns: dict[str, Any] = {"picture": files, "age": [row / 2 for row in range(20)]}
    columns |= {name: [int(name in file) for file in files] for name in ("cat", "5", "7")}
    path = write_table(tmp_path / "pets.csv", columns)
    labelled = load(config_of(path, target=["cat", "5", "7"]), tmp_path)
    assert labelled.info.task == "multilabel"
    assert labelled.info.classes == ("cat", "5", "7")
    aged = load(config_of(path, target="age"), tmp_path)
    assert (aged.info.task, aged.info.n_outputs) == ("regression", 1)
    known = {
        np.asarray(Image.open(tmp_path / file)).tobytes(): row for row, file in enumerate(files)
    }
    mean, std = (torch.tensor(scale).view(-1, 1, 1) for scale in (aged.info.mean, aged.info.std))
    for inputs, targets in aged.train.batches(5):
        pixels = (inputs * std + mean).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
        assert [known[one.tobytes()] / 2 for one in pixels] == targets[:, 0].tolist()


def test_a_row_of_a_table_without_its_file_is_named(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pets")
    table = write_names(tmp_path / "pets.csv", folder)
    (folder / "cat/0_5.png").unlink()
    assert refusal(config_of(table), tmp_path) == (
        f"{table}: row 2: {folder}/cat/0_5.png: no such file"
    )
    table.write_text(table.read_text().replace("pets/cat/0_5.png", ""))
    assert refusal(config_of(table), tmp_path) == (
        f"{table}: row 2: column 'picture' names no file; mend it, or drop the row"
    )


def test_a_picture_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pets")
    before = load(config_of(folder), tmp_path).info.fingerprint
    anew = {"resident_bytes": 2**20}  # what was loaded last is not asked for again
    assert load(config_of(folder), tmp_path, **anew).info.fingerprint == before
    picture("cat", 77).save(folder / "cat/0_0.png")
    assert load(config_of(folder), tmp_path).info.fingerprint != before


def test_a_name_of_a_class_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pets")
    config = replace(config_of(folder), params={"path": str(folder)})
    before = load(config, tmp_path).info
    (folder / "cat").rename(folder / "cats")
    after = load(config, tmp_path, resident_bytes=2**20).info
    assert (before.classes, after.classes) == (("cat", "dog"), ("cats", "dog"))
    assert before.fingerprint != after.fingerprint


def test_it_is_told_how_far_reading_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file_reader, "_TOLD_EVERY_S", 0.0)
    folder = write_pictures(tmp_path / "pets")
    with caplog.at_level(logging.INFO, "sweeper"):
        load(config_of(folder), tmp_path)
    assert f"{folder}: 20 pictures were looked at" in caplog.messages
    assert f"{folder}: 20 pictures are read" in caplog.messages
