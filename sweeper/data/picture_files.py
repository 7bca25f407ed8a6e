"""One file -> the pixels of one picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sweeper.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Modes of Pillow: those without colour, those with it, and those of 16 bits a pixel.
_GREY = ("1", "L", "LA", "La")
_COLOURED = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")


def read_mode(path: Path) -> str:
    """In which of Pillow's modes a file is; no pixel is read.

    Raises:
        DataError: If the file is no picture, or one of another mode than can be taken.
    """
    with _opened(path) as image:
        return image.mode


def is_grey(mode: str) -> bool:
    """Whether pictures of that mode have no colour."""
    return mode in (*_GREY, *_DEEP)


def read_picture(path: Path, size: tuple[int, int] | None, n_channels: int) -> NDArray[np.uint8]:
    """The pixels of a picture, turned as its camera says.

    What is transparent lies on white. Of 16 bits a pixel the upper 8 are taken.

    Args:
        path: Of the file.
        size: Height and width: it is scaled to cover them, and what is over at two sides is cut
            off; None to leave it as it is.
        n_channels: 1 for grey, or 3 for red, green and blue.

    Returns:
        uint8 [n_channels, H, W].

    Raises:
        DataError: As :func:`read_mode`, or if the file holds several pictures, or is cut short.
    """
    with _opened(path) as image:
        if getattr(image, "is_animated", False):
            raise DataError(
                f"{path}: holds {getattr(image, 'n_frames', 2)} pictures; wanted is one in a file"
            )
        if size is not None:
            # Photographs are decoded at a half, a quarter or an eighth where that is enough.
            image.draft(None, (2 * max(size), 2 * max(size)))
        turned = _plain(ImageOps.exif_transpose(image), n_channels)
        if size is not None:
            turned = ImageOps.fit(turned, size[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(turned, np.uint8)
    return pixels[np.newaxis] if n_channels == 1 else pixels.transpose(2, 0, 1)


def _plain(image: Image.Image, n_channels: int) -> Image.Image:
    """8 bits a pixel and channel, without transparency."""
    if image.mode in _DEEP:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if n_channels == 1 else "RGB")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            if image.mode not in (*_GREY, *_COLOURED, *_DEEP):
                raise DataError(
                    f"{path}: its pixels are {image.mode!r}; wanted are grey or coloured ones of "
                    "8 bits, or grey ones of 16: save it as PNG"
                )
            yield image
    except DataError:
        raise
    except FileNotFoundError as exc:
        raise DataError(f"{path}: no such file") from exc
    except UnidentifiedImageError as exc:
        raise DataError(f"{path}: is no picture that Pillow knows; remove or replace it") from exc
    # Pillow's decoders raise what they like of a file that is damaged.
    except Exception as exc:
        raise DataError(f"{path}: cannot be read: {exc}; remove or replace it") from exc
