"""One file -> the pixels of one picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.data.picture_pixels import opened, pixels_of
from sweeper.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_mode(path: Path) -> str:
    """In which of Pillow's modes a file is; no pixel is read.

    Raises:
        DataError: If the file is no picture, or one of another mode than can be taken.
    """
    with _told(path), opened(path) as image:
        return image.mode


def read_picture(path: Path, size: tuple[int, int] | None, n_channels: int) -> NDArray[np.uint8]:
    """The pixels of a picture, as :func:`~sweeper.data.picture_pixels.pixels_of` reads them.

    Raises:
        DataError: As :func:`read_mode`, or if the file holds several pictures, or is cut short.
    """
    with _told(path):
        return pixels_of(path, size, n_channels)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise DataError(f"{path}: no such file") from exc
    except ValueError as exc:
        raise DataError(f"{path}: {exc}") from exc
