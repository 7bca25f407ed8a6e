"""MNIST at hand before anything is timed."""

import argparse
import gzip
import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torchvision import datasets

#: Of a file each: the images, or the labels, of training or of the test.
_PARTS = ("images-idx3-ubyte", "labels-idx1-ubyte")
_N_IMAGES = {"train": 60_000, "t10k": 10_000}


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Let ``--data`` say where MNIST lies."""
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("SWEEPER_DATA", "data")),
        help="folder that holds MNIST/raw; default $SWEEPER_DATA, else data",
    )


def fetch_mnist(data: Path) -> Path:
    """Download what is missing, which is no part of any comparison; the absolute folder."""
    datasets.MNIST(str(data), download=True)
    return data.resolve()


def put_mnist(data: Path, packed: Path | None) -> str:
    """Make ``data`` a folder that holds MNIST/raw, without a network; what it holds, in words.

    Args:
        data: Takes the files.
        packed: A folder, somewhere below which MNIST's gzip files lie; None to make images of the
            same form, which are random but for their classes.

    Raises:
        FileNotFoundError: If they do not lie there.
    """
    raw = data / "MNIST" / "raw"
    raw.mkdir(parents=True)
    names = [f"{split}-{part}" for split in _N_IMAGES for part in _PARTS]
    if packed is None:
        write_random(raw)
        return "random ones of MNIST's form"
    for name in names:
        found = sorted(packed.rglob(f"{name}.gz"))
        if not found:
            raise FileNotFoundError(
                f"{packed}: it holds no {name}.gz; leave --data out for random images"
            )
        with gzip.open(found[0]) as source, (raw / name).open("wb") as target:
            shutil.copyfileobj(source, target)
    return "MNIST"


def write_random(raw: Path, n_images: dict[str, int] | None = None) -> None:
    """Write the files of random images, those of a class about a common centre."""
    generator = np.random.default_rng(0)
    centres = generator.integers(0, 200, (10, 28, 28), dtype=np.uint8)
    for split, n in (n_images or _N_IMAGES).items():
        labels = (np.arange(n) % 10).astype(np.uint8)
        images = centres[labels] + generator.integers(0, 56, (n, 28, 28), dtype=np.uint8)
        for part, array in zip(_PARTS, (images, labels), strict=True):
            (raw / f"{split}-{part}").write_bytes(_idx(array))


def _idx(array: NDArray[np.uint8]) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()
