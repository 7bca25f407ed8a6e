"""Pictures: files -> pixels on disk, of all that a trial may read of them.

<cache_dir>/images-0123456789abcdef/inputs.bin    uint8 [N, C, H, W]
                                    targets.bin   int64 [N], bool [N, K] or float32 [N, K]
                                    marks.bin     int32 [N], if the rows are not parted by share
                                    meta.json     with what the pictures are
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeper.config.file_pattern import FILE
from sweeper.config.settings import DataConfig
from sweeper.data.channels import ChannelSums
from sweeper.data.content import Content
from sweeper.data.images.files import read_mode, read_picture
from sweeper.data.images.form import PictureForm
from sweeper.data.images.pixels import is_grey
from sweeper.data.labelled.file_reader import FileReader
from sweeper.data.labelled.label_scan import LabelScan
from sweeper.data.labelled.pieces import Piece
from sweeper.data.labelled.reading import Reading, open_sources
from sweeper.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Pictures that are in memory at a time; without data.size they may be as large as any.
_BLOCK_ROWS = 16


def write_pictures(config: DataConfig, folder: Path) -> Content:
    """Read the pictures, and write their pixels.

    Raises:
        DataError: If the rows do not hold what the study file says, or pictures cannot be read,
            or are of different sizes.
    """
    column = config.params.get("column", FILE)
    reading = Reading.of(config, open_sources(config), column, _BLOCK_ROWS)
    scan, modes = LabelScan(reading), Counter[str]()
    looking = FileReader(column, "pictures were looked at")
    for piece, _ in reading.pieces():
        modes.update(mode for mode in looking.each(scan.take(piece), read_mode) if mode)
    looking.close()
    labels = scan.settle(config.task)
    pictures = _Pictures(config.params, column, all(map(is_grey, modes)))
    first = next(piece for whole, _ in reading.pieces() if (piece := reading.kept(whole)).rows)
    shape = pictures.settle(first)
    arrays = scan.write(folder, labels, {"inputs": ("uint8", shape)}, pictures.encode)
    pictures.close()
    assert pictures.sums is not None
    form = PictureForm(modes.total(), dict(modes.most_common()), shape, pictures.digest())
    return Content(
        arrays,
        {"labels": asdict(labels), "pictures": asdict(form), "sums": asdict(pictures.sums)},
    )


class _Pictures:
    """Reads pictures in the order of their rows, and sums their pixels up.

    Args:
        params: Of the data.
        column: That names their files.
        are_grey: Whether no picture has colour.

    Attributes:
        sums: Of those that were read.
    """

    def __init__(self, params: Mapping[str, Any], column: str, are_grey: bool) -> None:
        size = params.get("size")
        self._size = (size, size) if isinstance(size, int) else size and tuple(size)
        self._n_channels = params.get("channels", 1 if are_grey else 3)
        self._column = column
        self._reader = FileReader(column, "pictures are read")
        self._first: Path | None = None
        self._shape = (0, 0, 0)
        self.sums: ChannelSums | None = None
        self._content = hashlib.sha256()

    def settle(self, piece: Piece) -> tuple[int, int, int]:
        """The shape of all, which without ``data.size`` is that of the first."""
        if self._size is not None:
            self._shape = (self._n_channels, *self._size)
            return self._shape
        reader = FileReader(self._column, "")
        next(reader.each(piece, self._read_first))
        reader.close()
        return self._shape

    def _read_first(self, path: Path) -> None:
        n_channels, height, width = read_picture(path, None, self._n_channels).shape
        self._first, self._shape = path, (n_channels, height, width)

    def _read(self, path: Path) -> NDArray[np.uint8]:
        pixels = read_picture(path, self._size, self._n_channels)
        if pixels.shape != self._shape:
            own, first = (
                f"{height} x {width}" for _, height, width in (pixels.shape, self._shape)
            )
            raise DataError(
                f"{path}: is {own}, and {self._first} is {first}; say by data.size which size all "
                "are to be brought to"
            )
        with path.open("rb") as file:
            self._content.update(hashlib.file_digest(file, "sha256").digest())
        return pixels

    def encode(self, piece: Piece) -> dict[str, NDArray[Any]]:
        """Pixels of some rows."""
        blank = np.zeros(self._shape, np.uint8)  # of what cannot be read, which close tells
        found = [blank if p is None else p for p in self._reader.each(piece, self._read)]
        if not found:
            return {"inputs": np.empty((0, *self._shape), np.uint8)}
        pixels = np.stack(found)
        sums = ChannelSums.of(pixels)
        self.sums = sums if self.sums is None else self.sums + sums
        return {"inputs": pixels}

    def digest(self) -> str:
        """Of the files that were read, in hex."""
        return self._content.hexdigest()

    def close(self) -> None:
        """See that all could be read; raises as the reader."""
        self._reader.close()
