import fcntl
import hashlib
import json
import multiprocessing
import os
import queue
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import torch

from sweeper.config.settings import DataConfig
from sweeper.data.cache import open_cache, prepare_data
from sweeper.data.images.rows import map_images
from sweeper.data.rows import TensorRows
from sweeper.errors import DataError
from tests.support.data_files import IMAGES, LABELS, write_mnist


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_mnist(tmp_path / "files")
    return tmp_path / "files"


def mnist(root: Path) -> DataConfig:
    return DataConfig(name="mnist", root=str(root))


def load(config: DataConfig, tmp_path: Path) -> TensorRows:
    return map_images(open_cache(config, tmp_path / "cache"), None)


def failure(config: DataConfig, tmp_path: Path) -> str:
    with pytest.raises(DataError) as caught:
        prepare_data(config, cache_dir=tmp_path / "cache")
    return str(caught.value)


def test_the_cache_holds_the_train_split_alone(root: Path, tmp_path: Path) -> None:
    rows = load(mnist(root), tmp_path)
    assert rows.inputs.dtype == torch.uint8
    assert rows.inputs.shape == (12, 1, 4, 4)
    assert torch.equal(rows.inputs[:, 0], torch.from_numpy(IMAGES))
    assert rows.targets.tolist() == LABELS.tolist()


def test_meta_tells_classes_shape_moments_and_content(root: Path, tmp_path: Path) -> None:
    entry = open_cache(mnist(root), tmp_path / "cache")
    meta = json.loads((entry.folder / "meta.json").read_text())
    assert meta["n_classes"] == 3
    assert meta["shape"] == [12, 1, 4, 4]
    # Of 0 .. 191: the mean is 191 / 2, the variance (192**2 - 1) / 12.
    assert meta["mean"] == [pytest.approx(95.5 / 255, abs=1e-12)]
    assert meta["std"] == [pytest.approx((36863 / 12) ** 0.5 / 255, abs=1e-12)]
    content = b"torch.uint8 (12, 1, 4, 4)" + IMAGES.tobytes()
    content += b"torch.int64 (12,)" + LABELS.astype("<i8").tobytes()
    assert meta["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_second_call_changes_nothing(root: Path, tmp_path: Path) -> None:
    first = open_cache(mnist(root), tmp_path / "cache")
    before = first.path("inputs").stat()
    assert open_cache(mnist(root), tmp_path / "cache") == first
    assert first.path("inputs").stat().st_mtime_ns == before.st_mtime_ns
    assert first.path("inputs").stat().st_ino == before.st_ino


def modules_of_preparing(root: Path, tmp_path: Path) -> str:
    """Which of the slow ones a process loads that prepares the files of ``root``."""
    code = (
        "import sys; from pathlib import Path; from sweeper.config.settings import DataConfig; "
        "from sweeper.data.cache import prepare_data; "
        f"prepare_data(DataConfig(name='mnist', root={str(root)!r}), "
        f"cache_dir=Path({str(tmp_path / 'cache')!r})); "
        "print({'torch', 'torchvision', 'sklearn', 'numpy'} & set(sys.modules))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return shown.stdout.strip()


def test_idx_files_are_decoded_and_found_again_without_torch(root: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert modules_of_preparing(root, tmp_path) == "{'numpy'}"


def test_replaced_files_are_noticed(root: Path, tmp_path: Path) -> None:
    load(mnist(root), tmp_path)
    write_mnist(root, images=255 - IMAGES)
    file = root / "MNIST/raw/train-images-idx3-ubyte"
    os.utime(file, ns=(1, 1))  # a clock may be too coarse to tell the two writes apart
    assert load(mnist(root), tmp_path).inputs[0, 0, 0, 0] == 255


def test_other_params_are_other_data(tmp_path: Path) -> None:
    small, big = (DataConfig(name="digits", params=params) for params in ({}, {"size": 16}))
    for _ in range(2):
        assert load(small, tmp_path).inputs.shape == (1797, 1, 8, 8)
        assert load(big, tmp_path).inputs.shape == (1797, 1, 16, 16)


def test_a_torn_cache_is_made_again(root: Path, tmp_path: Path) -> None:
    entry = open_cache(mnist(root), tmp_path / "cache")
    entry.path("inputs").write_bytes(b"torn")
    (entry.folder.parent / f"{entry.folder.name}.partial").mkdir()
    assert torch.equal(load(mnist(root), tmp_path).inputs[:, 0], torch.from_numpy(IMAGES))
    (entry.folder / "meta.json").write_text("{")
    assert open_cache(mnist(root), tmp_path / "cache") == entry


def test_a_cache_whose_content_changed_is_told_and_made_again(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = open_cache(mnist(root), tmp_path / "cache")
    for path in (entry.path("inputs"), entry.path("targets")):
        before = path.read_bytes()
        path.write_bytes(bytes([before[0] ^ 1]) + before[1:])
        prepare_data(mnist(root), cache_dir=tmp_path / "cache")
        assert path.read_bytes() == before
        assert f"the decoded data in {entry.folder} are not what was written" in caplog.text
        caplog.clear()
    prepare_data(mnist(root), cache_dir=tmp_path / "cache")
    assert caplog.text == ""


def test_a_changed_cache_that_cannot_be_written_is_told(root: Path, tmp_path: Path) -> None:
    entry = open_cache(mnist(root), tmp_path / "cache")
    entry.path("inputs").write_bytes(bytes(entry.path("inputs").stat().st_size))
    lock = tmp_path / "cache/mnist.lock"
    lock.unlink()
    lock.mkdir()
    assert failure(mnist(root), tmp_path).startswith(f"the data cache {tmp_path / 'cache'} cannot")


def prepare_and_tell(root: Path, cache_dir: Path, inodes: "multiprocessing.Queue[int]") -> None:
    inodes.put(open_cache(mnist(root), cache_dir).path("inputs").stat().st_ino)


def prepare_and_count(
    root: Path, cache_dir: Path, start: Barrier, counts: "multiprocessing.Queue[int]"
) -> None:
    decoded = 0

    def count(event: str, args: tuple[object, ...]) -> None:
        nonlocal decoded
        decoded += event == "open" and str(args[0]).endswith("train-images-idx3-ubyte")

    sys.addaudithook(count)
    start.wait()
    prepare_data(mnist(root), cache_dir=cache_dir)
    counts.put(decoded)


def test_of_agents_that_start_together_on_a_node_one_decodes(root: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, counts = context.Barrier(8), context.Queue()
    arguments = (root, tmp_path / "cache", start, counts)
    processes = [context.Process(target=prepare_and_count, args=arguments) for _ in range(8)]
    for process in processes:
        process.start()
    assert sorted(counts.get(timeout=60) for _ in processes) == [0] * 7 + [1]
    for process in processes:
        process.join()
        assert process.exitcode == 0


def test_a_process_waits_for_another_that_prepares(root: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    inodes = context.Queue()
    (tmp_path / "cache").mkdir()
    process = context.Process(target=prepare_and_tell, args=(root, tmp_path / "cache", inodes))
    with (tmp_path / "cache/mnist.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        process.start()
        with pytest.raises(queue.Empty):  # without the lock it is done in some 0.02 s
            inodes.get(timeout=0.3)
        fcntl.flock(file, fcntl.LOCK_UN)
    inodes.get(timeout=30)
    process.join()


def test_a_cache_that_cannot_be_written_is_told(root: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    text = failure(mnist(root), tmp_path)
    assert text.startswith(f"the data cache {tmp_path / 'cache'} cannot be written: ")
    assert text.endswith("start the study in a folder that you may write to")


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    assert failure(DataConfig(name="minst"), tmp_path) == (
        "data.name: no data set 'minst'; there are mnist, fashion_mnist, kmnist, cifar10, digits, "
        "table, audio, images, text, and your own as package.module:function"
    )


def test_nothing_is_prepared_for_a_users_function(tmp_path: Path) -> None:
    prepare_data(DataConfig(name="no_such.module:load"), cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
