"""Raw files -> arrays.

Idx files and digits are read with numpy alone: torchvision, with torch, and scikit-learn each take
two seconds to import, in which a first command could start its workers already.
"""

import logging
from dataclasses import asdict
from importlib.util import find_spec
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweeper.config.settings import DataConfig
from sweeper.data.built_in.sources import DIGITS, RawFiles, raw_files
from sweeper.data.channels import ChannelSums
from sweeper.data.content import ArrayForm, Content
from sweeper.durable import replace_file
from sweeper.errors import DataError

log = logging.getLogger("sweeper")

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]

_REPAIR = "delete the damaged file to have it downloaded again"


def write(config: DataConfig, folder: Path) -> Content:
    """Decode a built-in data set of images, and write its arrays; raises as :func:`decode`."""
    inputs, targets = decode(config)
    for name, array in (("inputs", inputs), ("targets", targets)):
        with replace_file(folder / f"{name}.bin") as aside:
            array.tofile(aside)
    sums = ChannelSums.of(inputs)
    about = {
        "shape": inputs.shape,
        "n_classes": int(targets.max()) + 1,
        "sums": asdict(sums),
        "mean": sums.mean(),
        "std": sums.std(),
    }
    forms = {
        "inputs": ArrayForm("uint8", inputs.shape),
        "targets": ArrayForm("int64", targets.shape),
    }
    return Content(forms, about)


def decode(config: DataConfig) -> Arrays:
    """The train split of a built-in data set; downloads its files if they are not there.

    Of the test split the files must be there, and those of CIFAR-10 are checksummed; they are not
    decoded.

    Returns:
        Inputs, uint8 [N, C, H, W], and targets, int64 [N], both contiguous.

    Raises:
        DataError: If the files are not to be had or unreadable.
    """
    if config.name == DIGITS:
        return decode_digits(**config.params)
    raw = raw_files(config)
    try:
        if raw.missing():
            from sweeper.data.built_in.download import download  # torchvision

            log.info("%s: not in %s, downloading it", raw.name, raw.folder)
            download(raw)
        return _decode_cifar(raw) if raw.name == "cifar10" else _decode_idx(raw)
    except OSError as exc:
        raise DataError(f"{raw.folder}: cannot be read: {exc}") from exc


def decode_digits(size: int = 8) -> Arrays:
    """scikit-learn's 1,797 digits, 8 x 8 pixels of 0..16, brought to 0..255 and size x size."""
    rows = np.loadtxt(_digits_file(), delimiter=",")
    pixels, targets = rows[:, :-1], rows[:, -1]
    # In float64 and with exact integers at size 8, so that every machine rounds alike.
    images = pixels.reshape(-1, 1, 8, 8)
    if size != 8:
        images = _resized(images, size)
    return (images * 255 / 16).round().astype(np.uint8), targets.astype(np.int64)


def _digits_file() -> Path:
    """Where ``sklearn.datasets.load_digits`` reads them; to import that takes two seconds."""
    package = find_spec("sklearn")
    assert package is not None, "scikit-learn is required"
    assert package.origin is not None
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


def _resized(images: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    import torch
    from torch.nn import functional

    tensor = torch.from_numpy(images)
    resized = functional.interpolate(tensor, size=(size, size), mode="bilinear").numpy()
    return np.asarray(resized, np.float64)


def _decode_idx(raw: RawFiles) -> Arrays:
    images = _read_idx(raw.folder / "train-images-idx3-ubyte", 3)
    labels = _read_idx(raw.folder / "train-labels-idx1-ubyte", 1)
    if len(images) != len(labels) or len(images) == 0:
        raise DataError(
            f"{raw.folder}: train-images-idx3-ubyte has {len(images)} images, "
            f"train-labels-idx1-ubyte {len(labels)} labels; {_REPAIR}"
        )
    return images[:, np.newaxis], labels.astype(np.int64)


def _read_idx(path: Path, n_dims: int) -> NDArray[np.uint8]:
    """A file of a header (0, 0, 8 for uint8, n_dims, then each size, big-endian) and values."""
    with path.open("rb") as file:
        header = file.read(4 + 4 * n_dims)
        if len(header) < 4 + 4 * n_dims or header[:4] != bytes([0, 0, 8, n_dims]):
            raise DataError(f"{path}: not an idx file of {n_dims} dimensions of bytes; {_REPAIR}")
        sizes = [int.from_bytes(header[i : i + 4], "big") for i in range(4, len(header), 4)]
        n_bytes = path.stat().st_size
        wanted = len(header) + prod(sizes)
        if n_bytes != wanted:
            raise DataError(f"{path}: {n_bytes} bytes, its header asks for {wanted}; {_REPAIR}")
        return np.fromfile(file, np.uint8).reshape(sizes)


def _decode_cifar(raw: RawFiles) -> Arrays:
    from torchvision.datasets.utils import check_integrity

    from sweeper.data.built_in.download import dataset_class

    dataset = dataset_class(raw)
    checksums = [*dataset.train_list, *dataset.test_list]
    checksums.append((dataset.meta["filename"], dataset.meta["md5"]))
    for name, md5 in checksums:
        if not check_integrity(raw.folder / name, md5):
            raise DataError(f"{raw.folder / name}: its MD5 is not {md5}; {_REPAIR}")
    try:
        rows = dataset(raw.root, train=True)
    except Exception as exc:  # torchvision asserts, indexes and unpickles without checks
        raise DataError(f"{raw.folder}: torchvision cannot read it: {exc!r}; {_REPAIR}") from exc
    inputs = rows.data.transpose(0, 3, 1, 2)  # [N, H, W, C] -> [N, C, H, W]
    return np.ascontiguousarray(inputs), np.array(rows.targets, np.int64)
