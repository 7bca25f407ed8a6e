"""A picture as a file holds it -> pixels.

A served model reads pictures by this file, a copy of which lies beside it, so that nothing of
sweeper is imported here.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The column of pictures that a served model takes.
PICTURE = "picture"
#: Modes of Pillow: those without colour, those with it, and those of 16 bits a pixel.
_GREY = ("1", "L", "LA", "La")
_COLOURED = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")


def read_rows(
    columns: Mapping[str, Sequence[bytes]], strings: Mapping[str, Any]
) -> NDArray[np.uint8]:
    """Pictures as files hold them -> those that a served model computes with.

    Args:
        columns: ``picture``: of each row the content of a file.
        strings: ``shape``, [C, H, W] of all pictures; and ``is_sized``, whether they are brought
            to it.

    Returns:
        uint8 [N, C, H, W].

    Raises:
        ValueError: If one is no picture, or not of that size.
    """
    n_channels, *size = strings["shape"]
    found = list(columns[PICTURE])
    pixels = np.zeros((len(found), n_channels, *size), np.uint8)
    for row, content in enumerate(found):
        place = f"{PICTURE} in row {row + 1}"
        if not isinstance(content, bytes):
            raise ValueError(f"{place}: wanted are the bytes of a file")
        try:
            one = pixels_of(
                io.BytesIO(content), tuple(size) if strings["is_sized"] else None, n_channels
            )
        except ValueError as exc:
            raise ValueError(f"{place} {exc}") from exc
        if one.shape != pixels.shape[1:]:
            height, width = one.shape[1:]
            raise ValueError(f"{place} is {height} x {width}; wanted is {size[0]} x {size[1]}")
        pixels[row] = one
    return pixels


def is_grey(mode: str) -> bool:
    """Whether pictures of that mode have no colour."""
    return mode in (*_GREY, *_DEEP)


def pixels_of(
    file: Path | IO[bytes], size: tuple[int, ...] | None, n_channels: int
) -> NDArray[np.uint8]:
    """The pixels of a picture, turned as its camera says.

    What is transparent lies on white. Of 16 bits a pixel the upper 8 are taken.

    Args:
        file: Of the picture.
        size: Height and width: it is scaled to cover them, and what is over at two sides is cut
            off; None to leave it as it is.
        n_channels: 1 for grey, or 3 for red, green and blue.

    Returns:
        uint8 [n_channels, H, W].

    Raises:
        FileNotFoundError: If there is none.
        ValueError: As :func:`opened`, or if it holds several pictures.
    """
    with opened(file) as image:
        if getattr(image, "is_animated", False):
            raise _FaultError(
                f"holds {getattr(image, 'n_frames', 2)} pictures; wanted is one in a file"
            )
        if size is not None:
            # Photographs are decoded at a half, a quarter or an eighth where that is enough.
            image.draft(None, (2 * max(size), 2 * max(size)))
        turned = _plain(ImageOps.exif_transpose(image), n_channels)
        if size is not None:
            height, width = size
            turned = ImageOps.fit(turned, (width, height), Image.Resampling.BILINEAR)
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


class _FaultError(ValueError):
    """That is told as it is."""


@contextmanager
def opened(file: Path | IO[bytes]) -> Iterator[Image.Image]:
    """A picture of which no pixel is read yet.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is none, of a mode that cannot be taken, or cannot be read in the block.
    """
    try:
        with Image.open(file) as image:
            if image.mode not in (*_GREY, *_COLOURED, *_DEEP):
                raise _FaultError(
                    f"has pixels {image.mode!r}; wanted are grey or coloured ones of 8 bits, or "
                    "grey ones of 16: save it as PNG"
                )
            yield image
    except (FileNotFoundError, _FaultError):
        raise
    except UnidentifiedImageError as exc:
        raise ValueError("is no picture that Pillow knows; remove or replace it") from exc
    # Pillow's decoders raise what they like of a file that is damaged.
    except Exception as exc:
        raise ValueError(f"cannot be read: {exc}; remove or replace it") from exc
