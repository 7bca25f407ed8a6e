"""What a data set is decoded to: arrays on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ArrayForm(NamedTuple):
    """dtype, as numpy and torch both name it, and shape of an array."""

    dtype: str
    shape: Sequence[int]


@dataclass(frozen=True)
class Content:
    """What a data set was decoded to.

    Attributes:
        arrays: By the name of their files; of none is a side 0.
        about: What else must be known of them, as JSON has it.
    """

    arrays: Mapping[str, ArrayForm]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class CacheEntry:
    """A decoded data set.

    Attributes:
        folder: Holds a file for each array.
        content: What they are.
        digest: Of all arrays, see :mod:`~sweeper.data.fingerprint`.
    """

    folder: Path
    content: Content
    digest: str

    def path(self, name: str) -> Path:
        """Of an array's raw values, in the machine's byte order."""
        return self.folder / f"{name}.bin"

    def map(self, name: str) -> "NDArray[Any]":
        """An array as it lies on disk."""
        import numpy as np

        dtype, shape = self.content.arrays[name]
        return np.memmap(self.path(name), dtype, mode="r", shape=tuple(shape))

    def is_whole(self) -> bool:
        """Whether all files have the size that their shapes ask for."""
        import numpy as np

        return all(
            self.path(name).is_file()
            and self.path(name).stat().st_size == np.dtype(form.dtype).itemsize * prod(form.shape)
            for name, form in self.content.arrays.items()
        )
