"""The built-in data sets and the files that each of them needs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.config.settings import DataConfig
from sweeper.data.fingerprint import file_identity

_IDX_FILES = tuple(
    f"{split}-{part}-ubyte"
    for split in ("train", "t10k")
    for part in ("images-idx3", "labels-idx1")
)
_CIFAR_FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
#: As those who made the data sets call them.
DIGIT_NAMES = tuple("0123456789")
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_SYLLABLES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
_THINGS = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


@dataclass(frozen=True)
class Source:
    """A data set that torchvision reads.

    Attributes:
        dataset: Its class in ``torchvision.datasets``.
        folder: Where its files lie below the root.
        files: Every file that torchvision wants to see there, those of the test split as well.
        classes: Names of the targets from 0 on.
    """

    dataset: str
    folder: str
    files: tuple[str, ...]
    classes: tuple[str, ...]


SOURCES: Mapping[str, Source] = {
    "mnist": Source("MNIST", "MNIST/raw", _IDX_FILES, DIGIT_NAMES),
    "fashion_mnist": Source("FashionMNIST", "FashionMNIST/raw", _IDX_FILES, _CLOTHES),
    "kmnist": Source("KMNIST", "KMNIST/raw", _IDX_FILES, _SYLLABLES),
    "cifar10": Source("CIFAR10", "cifar-10-batches-py", _CIFAR_FILES, _THINGS),
}
DIGITS = "digits"


@dataclass(frozen=True)
class RawFiles:
    """The files of one source below one root, whether they are there or not.

    Attributes:
        name: Data set, a key of ``SOURCES``.
        root: Absolute folder.
        origin: Who chose ``root``, for messages.
    """

    name: str
    root: Path
    origin: str

    @property
    def source(self) -> Source:
        """What the files are."""
        return SOURCES[self.name]

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self.root / self.source.folder

    def missing(self) -> list[str]:
        """Names of the files that are not there."""
        return [name for name in self.source.files if not (self.folder / name).is_file()]


def raw_files(config: DataConfig) -> RawFiles:
    """Where the files of ``config`` should lie: data.root, else $SWEEPER_DATA, else ``data/``."""
    if config.root is not None:
        root, origin = config.root, "data.root"
    elif environment := os.environ.get("SWEEPER_DATA"):
        root, origin = environment, "$SWEEPER_DATA"
    else:
        root, origin = "data", "the default, as neither data.root nor $SWEEPER_DATA is set"
    return RawFiles(config.name, Path(root).expanduser().resolve(), origin)


def identity(config: DataConfig) -> list[Any] | None:
    """All that the decoded content of a built-in data set follows from; None before a download."""
    params = sorted(config.params.items())
    if config.name == DIGITS:
        return [params, []]
    raw = raw_files(config)
    files = [raw.folder / name for name in raw.source.files]
    return None if raw.missing() else [params, file_identity(files)]


def fallback(config: DataConfig) -> DataConfig:
    """The digits at MNIST's size, in place of a data set that is not to be had."""
    return replace(config, name=DIGITS, root=None, fallback=None, params={"size": 28})
