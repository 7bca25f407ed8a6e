"""Tiny data sets in the formats that torchvision reads."""

import gzip
import hashlib
import pickle
from pathlib import Path

import numpy as np

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
#: 12 rows of 4 x 4 pixels; row r holds r * 16 .. r * 16 + 15. Classes 0, 1, 2 by turns.
IMAGES = np.arange(192, dtype=np.uint8).reshape(12, 4, 4)
LABELS = np.arange(12, dtype=np.uint8) % 3


def idx_bytes(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def idx_files(images: np.ndarray = IMAGES, labels: np.ndarray = LABELS) -> dict[str, bytes]:
    contents = map(idx_bytes, (images, labels, images[:2], labels[:2]))
    return dict(zip(IDX_NAMES, contents, strict=True))


def write_mnist(root: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS) -> Path:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in idx_files(images, labels).items():
        (folder / name).write_bytes(content)
    return folder


def gz_archives() -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(content) for name, content in idx_files().items()}


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def cifar_files() -> dict[str, bytes]:
    """Two rows in each of the five batches; pixel value = 10 * batch + row, green one more."""

    def batch(number: int) -> bytes:
        rows = [[10 * number + row + channel for channel in (0, 1, 0)] for row in range(2)]
        data = np.repeat(np.array(rows, dtype=np.uint8), 1024, axis=1)  # [2, 3 * 32 * 32]
        return pickle.dumps({"data": data, "labels": [number % 2, 1]})

    files = {f"data_batch_{number}": batch(number) for number in range(1, 6)}
    meta = pickle.dumps({"label_names": ["cat", "dog"]})
    return {**files, "test_batch": batch(9), "batches.meta": meta}
