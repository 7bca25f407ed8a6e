"""The built-in data sets and the files that each of them needs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.config.settings import DataConfig
from sweeper.errors import DataError

_IDX_FILES = tuple(
    f"{split}-{part}-ubyte"
    for split in ("train", "t10k")
    for part in ("images-idx3", "labels-idx1")
)
_CIFAR_FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")


@dataclass(frozen=True)
class Source:
    """A data set that torchvision reads.

    Attributes:
        dataset: Its class in ``torchvision.datasets``.
        folder: Where its files lie below the root.
        files: Every file that torchvision wants to see there, those of the test split as well.
    """

    dataset: str
    folder: str
    files: tuple[str, ...]


SOURCES: Mapping[str, Source] = {
    "mnist": Source("MNIST", "MNIST/raw", _IDX_FILES),
    "fashion_mnist": Source("FashionMNIST", "FashionMNIST/raw", _IDX_FILES),
    "kmnist": Source("KMNIST", "KMNIST/raw", _IDX_FILES),
    "cifar10": Source("CIFAR10", "cifar-10-batches-py", _CIFAR_FILES),
}
DIGITS = "digits"
TABLE = "table"


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

    def identity(self) -> list[tuple[str, int, int]]:
        """Path, size in bytes and time of change in ns of each file: replaced files differ."""
        return _identity([self.folder / name for name in self.source.files])


def raw_files(config: DataConfig) -> RawFiles:
    """Where the files of ``config`` should lie: data.root, else $SWEEPER_DATA, else ``data/``."""
    if config.root is not None:
        root, origin = config.root, "data.root"
    elif environment := os.environ.get("SWEEPER_DATA"):
        root, origin = environment, "$SWEEPER_DATA"
    else:
        root, origin = "data", "the default, as neither data.root nor $SWEEPER_DATA is set"
    return RawFiles(config.name, Path(root).expanduser().resolve(), origin)


def _identity(paths: Sequence[Path]) -> list[tuple[str, int, int]]:
    stats = [(path, path.stat()) for path in paths]
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def label_of(config: DataConfig) -> str:
    """The name of some data in records: of a table that of its file, without suffixes."""
    if config.name == TABLE:
        return Path(config.params["path"]).name.partition(".")[0] or TABLE
    return config.name


def table_files(config: DataConfig) -> list[Path]:
    """The file of a table and, if the study file names one, that of its validation rows.

    A relative path is below data.root; without one it counts from where the command works, and
    if there is nothing, from $SWEEPER_DATA.

    Raises:
        DataError: If one is not there.
    """
    holdout = config.validation
    held_out = [] if isinstance(holdout, float) or "path" not in holdout else [holdout["path"]]
    return [
        _find(config.params["path"], config.root, "data.path"),
        *(_find(path, config.root, "data.validation") for path in held_out),
    ]


def _find(name: str, root: str | None, key: str) -> Path:
    environment = os.environ.get("SWEEPER_DATA")
    folders = [root] if root is not None else ["", *([environment] if environment else [])]
    try:
        places = [Path(folder).expanduser() / Path(name).expanduser() for folder in folders]
        for place in places:
            if place.is_file():
                return place.resolve()
    except (OSError, RuntimeError, ValueError) as exc:  # of a home, or a sign, that cannot be
        raise DataError(
            f"{key}: no file can be called {name!r}: {exc}; give another path"
        ) from exc
    looked = " and ".join(dict.fromkeys(str(place.absolute()) for place in places))
    raise DataError(
        f"{key}: no such file: {looked}; give the path from where the command works, or from "
        "data.root or $SWEEPER_DATA if that is set"
    )


def identity(config: DataConfig) -> list[Any] | None:
    """All that the decoded content of built-in data follows from; None before a download."""
    if config.name == TABLE:
        # Trials differ in the scale, which is fitted to what was decoded.
        kept = {key: value for key, value in config.params.items() if key != "scale"}
        marks = {} if isinstance(config.validation, float) else dict(config.validation)
        marks.pop("share", None)
        files = _identity(table_files(config))
        return [sorted(kept.items()), config.task, sorted(marks.items()), files]
    params = sorted(config.params.items())
    if config.name == DIGITS:
        return [params, []]
    raw = raw_files(config)
    return None if raw.missing() else [params, raw.identity()]


def fallback(config: DataConfig) -> DataConfig:
    """The digits at MNIST's size, in place of a data set that is not to be had."""
    return replace(config, name=DIGITS, root=None, fallback=None, params={"size": 28})
