"""Raw files -> tensors, through torchvision and scikit-learn."""

import logging
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sweeper.config import DataConfig
from sweeper.data.download import dataset_class, download
from sweeper.data.sources import DIGITS, RawFiles, raw_files
from sweeper.errors import DataError

log = logging.getLogger("sweeper")

_REPAIR = "delete the damaged file to have it downloaded again"


def decode(config: DataConfig) -> tuple[Tensor, Tensor]:
    """The train split of a built-in data set; downloads its files if they are not there.

    Of the test split torchvision wants to see the files, and those of CIFAR-10 are checksummed;
    they are not decoded.

    Returns:
        Inputs, uint8 [N, C, H, W], and targets, int64 [N], both contiguous.

    Raises:
        DataError: If the files are not to be had or unreadable.
    """
    if config.name == DIGITS:
        return _decode_digits(**config.params)
    raw = raw_files(config)
    try:
        if raw.missing():
            log.info("%s: not in %s, downloading it", raw.name, raw.folder)
            download(raw)
        return _decode_cifar(raw) if raw.name == "cifar10" else _decode_idx(raw)
    except OSError as exc:
        raise DataError(f"{raw.folder}: cannot be read: {exc}") from exc


def _decode_digits(size: int = 8) -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 digits, 8 x 8 pixels of 0..16, brought to 0..255 and size x size."""
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    inputs = torch.from_numpy(pixels).view(-1, 1, 8, 8)
    # In float64 and with exact integers at size 8, so that every machine rounds alike.
    resized = functional.interpolate(inputs, size=(size, size), mode="bilinear")
    return (resized * 255 / 16).round().to(torch.uint8), torch.from_numpy(targets).long()


def _decode_idx(raw: RawFiles) -> tuple[Tensor, Tensor]:
    for name, n_dims in (("train-images-idx3-ubyte", 3), ("train-labels-idx1-ubyte", 1)):
        _check_idx(raw.folder / name, n_dims)
    dataset = _open(raw)
    n_images, n_labels = len(dataset.data), len(dataset.targets)
    if n_images != n_labels or n_images == 0:
        raise DataError(
            f"{raw.folder}: train-images-idx3-ubyte has {n_images} images, "
            f"train-labels-idx1-ubyte {n_labels} labels; {_REPAIR}"
        )
    return dataset.data.unsqueeze(1).contiguous(), dataset.targets.long()


def _decode_cifar(raw: RawFiles) -> tuple[Tensor, Tensor]:
    from torchvision.datasets.utils import check_integrity

    dataset = dataset_class(raw)
    checksums = [*dataset.train_list, *dataset.test_list]
    checksums.append((dataset.meta["filename"], dataset.meta["md5"]))
    for name, md5 in checksums:
        if not check_integrity(raw.folder / name, md5):
            raise DataError(f"{raw.folder / name}: its MD5 is not {md5}; {_REPAIR}")
    dataset = _open(raw)
    inputs = torch.from_numpy(dataset.data).permute(0, 3, 1, 2)
    return inputs.contiguous(), torch.tensor(dataset.targets)


def _open(raw: RawFiles) -> Any:
    try:
        return dataset_class(raw)(raw.root, train=True)
    except Exception as exc:  # torchvision asserts, indexes and unpickles without checks
        raise DataError(f"{raw.folder}: torchvision cannot read it: {exc!r}; {_REPAIR}") from exc


def _check_idx(path: Path, n_dims: int) -> None:
    """Compare a file with its header: 0, 0, 8 for uint8, n_dims, then each size, big-endian."""
    with path.open("rb") as file:
        header = file.read(4 + 4 * n_dims)
        size = file.seek(0, 2)
    if len(header) < 4 + 4 * n_dims or header[:4] != bytes([0, 0, 8, n_dims]):
        raise DataError(f"{path}: not an idx file of {n_dims} dimensions of bytes; {_REPAIR}")
    sizes = [int.from_bytes(header[i : i + 4], "big") for i in range(4, len(header), 4)]
    wanted = len(header) + prod(sizes)
    if size != wanted:
        raise DataError(f"{path}: {size} bytes, its header asks for {wanted}; {_REPAIR}")
