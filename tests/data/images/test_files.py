"""Pixels of a file, whatever form it has, and what is said of one that has none."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sweeper.data.images.files import read_mode, read_picture
from sweeper.data.images.pixels import is_grey
from sweeper.errors import DataError

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8)
RGB = np.stack([RAMP, RAMP + 50, RAMP + 100], 2)


def saved(folder: Path, image: Image.Image, name: str = "one.png", **how: Any) -> Path:
    image.save(folder / name, **how)
    return folder / name


def test_a_picture_keeps_its_pixels(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(RGB))
    pixels = read_picture(path, None, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, RGB.transpose(2, 0, 1))
    grey = read_picture(path, None, 1)
    weighed = RGB @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[0], weighed, atol=0.51)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"]
)
def test_every_mode_is_taken_as_grey_and_as_coloured(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (8, 6))
    path = saved(tmp_path, image, "one.tif")
    assert read_mode(path) == mode
    assert is_grey(mode) == (mode in ("1", "L", "LA", "I;16"))
    for n_channels in (1, 3):
        assert read_picture(path, None, n_channels).shape == (n_channels, 6, 8)


def test_of_sixteen_bits_the_upper_eight_are_taken(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(RAMP.astype(np.uint16) * 256 + 255))
    assert read_mode(path) == "I;16"
    assert np.array_equal(read_picture(path, None, 1)[0], RAMP)


def test_what_is_transparent_lies_on_white(tmp_path: Path) -> None:
    pixels = np.concatenate([RGB, np.full((6, 8, 1), 255, np.uint8)], 2)
    pixels[:3, :, 3] = 0
    pixels[3, 0, 3] = 51  # a fifth
    found = read_picture(saved(tmp_path, Image.fromarray(pixels)), None, 3)
    assert (found[:, :3] == 255).all()
    assert np.array_equal(found[:, 4:], RGB[4:].transpose(2, 0, 1))
    np.testing.assert_allclose(found[:, 3, 0], 204 + RGB[3, 0] / 5, atol=1)
    palette = Image.fromarray(RAMP).convert("P")
    path = saved(tmp_path, palette, transparency=7)
    assert read_picture(path, None, 1)[0, 0, 6:10].tolist() == [6, 255]


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right
    path = saved(tmp_path, Image.fromarray(RAMP), exif=exif)
    assert np.array_equal(read_picture(path, None, 1)[0], np.rot90(RAMP, -1))


def test_a_picture_is_scaled_to_cover_its_size_and_the_rest_cut_off(tmp_path: Path) -> None:
    pixels = np.zeros((40, 120), np.uint8)
    pixels[:, 40:80] = 200  # the middle third is all that is left
    path = saved(tmp_path, Image.fromarray(pixels))
    assert read_picture(path, (40, 40), 1).min() == 200
    assert read_picture(path, (10, 10), 1).shape == (1, 10, 10)
    whole = read_picture(path, (10, 30), 1)[0]
    assert np.array_equal(whole[:, 1:9].max(), 0)
    assert whole[:, 12:18].min() == 200


def test_a_photograph_is_the_same_whether_it_is_decoded_at_once_or_small(tmp_path: Path) -> None:
    rows = np.linspace(0, 255, 512)
    pixels = np.stack(np.broadcast_arrays(rows[:, None], rows[None], 128), 2).astype(np.uint8)
    path = saved(tmp_path, Image.fromarray(pixels), "one.jpg", quality=95)
    small = read_picture(path, (16, 16), 3).astype(int)
    whole = Image.fromarray(pixels).resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(small, np.asarray(whole).transpose(2, 0, 1), atol=4)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    with pytest.raises(DataError, match=f"^{path}: no such file$"):
        read_mode(path)
    os.mkfifo(tmp_path / "pipe.png")  # which would be waited for
    with pytest.raises(DataError, match="pipe.png: no such file$"):
        read_mode(tmp_path / "pipe.png")
    path.write_text("nothing")
    with pytest.raises(DataError, match=f"^{path}: is no picture that Pillow knows; remove or"):
        read_mode(path)
    saved(tmp_path, Image.effect_noise((64, 64), 50))
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(DataError, match=f"^{path}: cannot be read: .*truncated.*; remove or"):
        read_picture(path, None, 1)


def test_pixels_of_other_numbers_and_films_are_refused(tmp_path: Path) -> None:
    for mode in ("I", "F", "LAB"):
        path = saved(tmp_path, Image.new(mode, (3, 2)), "one.tif")
        said = f"{path}: has pixels {mode!r}; wanted are grey or coloured ones of 8 bits"
        with pytest.raises(DataError, match=f"^{re.escape(said)}"):
            read_mode(path)
    frames = [Image.fromarray(RAMP + n) for n in range(3)]
    path = saved(tmp_path, frames[0], "one.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=f"^{path}: holds 3 pictures; wanted is one in a file$"):
        read_picture(path, None, 1)
