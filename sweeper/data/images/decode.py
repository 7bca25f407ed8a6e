"""Pictures: files -> pixels on disk, of all that a trial may read of them.

<cache_dir>/images-0123456789abcdef/inputs.bin    uint8 [N, C, H, W]
                                    targets.bin   int64 [N], bool [N, K] or float32 [N, K]
                                    marks.bin     int32 [N], if the rows are not parted by share
                                    meta.json     with what the pictures are
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
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
from sweeper.data.labelled.reading import Reading, open_sources
from sweeper.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Pictures that are in memory at a time; without data.size they may be as large as any.
_BLOCK_ROWS = 16


def write(config: DataConfig, folder: Path) -> Content:
    """Read the pictures, and write their pixels.

    Raises:
        DataError: If the rows do not hold what the study file says, or pictures cannot be read,
            or are of different sizes.
    """
    column = config.params.get("column", FILE)
    reading = Reading.of(config, open_sources(config), column, _BLOCK_ROWS)
    scan, modes = LabelScan(reading), Counter[str]()
    with FileReader(column, "pictures were looked at") as reader:
        for piece, _ in reading.pieces():
            modes.update(mode for mode in reader.each(scan.take(piece), read_mode) if mode)
    labels = scan.settle(config.task)
    pictures = _Pictures(config.params, are_grey=all(map(is_grey, modes)))
    if "size" not in config.params:
        first = next(piece for whole, _ in reading.pieces() if (piece := reading.kept(whole)).rows)
        with FileReader(column, "") as reader:
            next(reader.each(first, pictures.take_shape_of))
    with FileReader(column, "pictures are read") as reader:
        arrays = scan.write(
            folder,
            labels,
            {"inputs": ("uint8", pictures.shape)},
            lambda piece: pictures.encode(reader.each(piece, pictures.read)),
        )
    assert pictures.sums is not None
    digest = pictures.content.hexdigest()
    form = PictureForm(modes.total(), dict(modes.most_common()), pictures.shape, digest)
    return Content(
        arrays,
        {"labels": asdict(labels), "pictures": asdict(form), "sums": asdict(pictures.sums)},
    )


class _Pictures:
    """Reads pictures of one shape, and sums their pixels up.

    Args:
        params: Of the data.
        are_grey: Whether no picture has colour.

    Attributes:
        shape: Of each; without ``data.size`` it is yet to be taken of the first.
        sums: Of those that were read.
        content: SHA-256 of the files that were read.
    """

    def __init__(self, params: Mapping[str, Any], *, are_grey: bool) -> None:
        size = params.get("size")
        self._size = (size, size) if isinstance(size, int) else size and tuple(size)
        self._first: Path | None = None
        self.shape = (params.get("channels", 1 if are_grey else 3), *(self._size or (0, 0)))
        self.sums: ChannelSums | None = None
        self.content = hashlib.sha256()

    def take_shape_of(self, path: Path) -> None:
        """Let all be as large as the picture in a file."""
        _, height, width = read_picture(path, None, self.shape[0]).shape
        self._first, self.shape = path, (self.shape[0], height, width)

    def read(self, path: Path) -> NDArray[np.uint8]:
        """The pixels of a file.

        Raises:
            DataError: If it cannot be read, or is of another size.
        """
        pixels = read_picture(path, self._size, self.shape[0])
        if pixels.shape != self.shape:
            own, first = (f"{height} x {width}" for _, height, width in (pixels.shape, self.shape))
            raise DataError(
                f"{path}: is {own}, and {self._first} is {first}; say by data.size which size all "
                "are to be brought to"
            )
        with path.open("rb") as file:
            self.content.update(hashlib.file_digest(file, "sha256").digest())
        return pixels

    def encode(self, pictures: Iterable[NDArray[np.uint8] | None]) -> dict[str, NDArray[Any]]:
        """Pixels of some rows."""
        blank = np.zeros(self.shape, np.uint8)  # of what cannot be read, which the reader tells
        found = [blank if pixels is None else pixels for pixels in pictures]
        if not found:
            return {"inputs": np.empty((0, *self.shape), np.uint8)}
        pixels = np.stack(found)
        sums = ChannelSums.of(pixels)
        self.sums = sums if self.sums is None else self.sums + sums
        return {"inputs": pixels}
