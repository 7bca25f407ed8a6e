from pathlib import Path

import numpy as np
import pytest
import torchvision
from sklearn.datasets import load_digits

from sweeper.config.settings import DataConfig
from sweeper.data.built_in.decode import decode
from sweeper.errors import DataError
from tests.support.data_files import LABELS, cifar_files, idx_bytes, md5, write_mnist


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_mnist(tmp_path)
    return tmp_path


def mnist(root: Path) -> DataConfig:
    return DataConfig(name="mnist", root=str(root))


def failure(config: DataConfig) -> str:
    with pytest.raises(DataError) as caught:
        decode(config)
    return str(caught.value)


def test_a_truncated_file_is_named(root: Path) -> None:
    file = root / "MNIST/raw/train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:100])
    assert failure(mnist(root)) == (
        f"{file}: 100 bytes, its header asks for 208; "
        "delete the damaged file to have it downloaded again"
    )


def test_a_file_of_another_kind_is_named(root: Path) -> None:
    file = root / "MNIST/raw/train-labels-idx1-ubyte"
    file.write_bytes(b"<html>")
    text = failure(mnist(root))
    assert text.startswith(f"{file}: not an idx file of 1 dimensions of bytes; delete")


def test_images_and_labels_must_agree(root: Path) -> None:
    (root / "MNIST/raw/train-labels-idx1-ubyte").write_bytes(idx_bytes(LABELS[:7]))
    text = failure(mnist(root))
    assert "train-images-idx3-ubyte has 12 images, train-labels-idx1-ubyte 7 labels" in text


def test_digits_are_scaled_to_bytes() -> None:
    inputs, classes = decode(DataConfig(name="digits"))
    pixels, targets = load_digits(return_X_y=True)
    assert inputs.shape == (1797, 1, 8, 8)
    # 255 / 16 = 15.9375; 8 sixteenths are 127.5, which rounds to the even 128.
    table = np.array([0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255])
    assert np.array_equal(inputs.reshape(-1, 64), table[pixels.astype(int)])
    assert np.array_equal(classes, targets)


def test_cifar_is_read_channel_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = cifar_files()
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    trains = [[f"data_batch_{i}", md5(files[f"data_batch_{i}"])] for i in range(1, 6)]
    cifar = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", trains)
    monkeypatch.setattr(cifar, "test_list", [["test_batch", md5(files["test_batch"])]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": md5(files["batches.meta"])})
    config = DataConfig(name="cifar10", root=str(tmp_path))
    inputs, classes = decode(config)
    assert inputs.shape == (10, 3, 32, 32)
    assert inputs[:, :, 5, 7].tolist()[:3] == [[10, 11, 10], [11, 12, 11], [20, 21, 20]]
    assert classes.tolist() == [1, 1, 0, 1, 1, 1, 0, 1, 1, 1]
    (folder / "data_batch_3").write_bytes(b"damaged")
    text = failure(config)
    assert text.startswith(
        f"{folder / 'data_batch_3'}: its MD5 is not {md5(files['data_batch_3'])}"
    )
