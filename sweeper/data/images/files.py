"""One file -> the pixels of one picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ExifTags

from sweeper.data.images.pixels import opened, pixels_of
from sweeper.data.labelled.file_reader import is_regular
from sweeper.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Orientations of EXIF in which height and width change places.
_TURNED = (5, 6, 7, 8)


def read_mode(path: Path) -> str:
    """In which of Pillow's modes a file is; no pixel is read.

    Raises:
        DataError: If the file is no picture, or one of another mode than can be taken.
    """
    with _told(path), opened(path) as image:
        return image.mode


def read_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture, turned as its camera says; raises as :func:`read_mode`."""
    with _told(path), opened(path) as image:
        is_turned = image.getexif().get(ExifTags.Base.Orientation) in _TURNED
        return image.size if is_turned else image.size[::-1]


def read_picture(path: Path, size: tuple[int, int] | None, n_channels: int) -> NDArray[np.uint8]:
    """The pixels of a picture, as :func:`~sweeper.data.images.pixels.pixels_of` reads them.

    Raises:
        DataError: As :func:`read_mode`, or if the file holds several pictures, or is cut short.
    """
    with _told(path):
        return pixels_of(path, size, n_channels)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    if not is_regular(path):
        raise DataError(f"{path}: no such file")
    try:
        yield
    except FileNotFoundError as exc:
        raise DataError(f"{path}: no such file") from exc
    except ValueError as exc:
        raise DataError(f"{path}: {exc}") from exc
