import io
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchvision

from sweeper.config.settings import DataConfig
from sweeper.data.built_in import download
from sweeper.data.cache import open_cache, prepare_data
from sweeper.data.images.rows import map_images
from sweeper.errors import DataError
from tests.support.data_files import IMAGES, cifar_files, gz_archives, md5


class Mirror(ThreadingHTTPServer):
    """Serves ``files`` by name; falls silent after ``answers`` requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.answers = 1000
        self.asked: list[str] = []
        self.stop = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.server.asked.append(name)
        if len(self.server.asked) > self.server.answers:
            self.server.stop.wait()
            return
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    server = Mirror()
    server.files = gz_archives()
    mnist = torchvision.datasets.MNIST
    resources = [(name, md5(content)) for name, content in server.files.items()]
    monkeypatch.setattr(mnist, "mirrors", [server.url])
    monkeypatch.setattr(mnist, "resources", resources)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PROBE_TIMEOUT_S", 0.4)
    monkeypatch.setattr(download, "READ_TIMEOUT_S", 0.4)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def silent() -> Iterator[str]:
    """A host that accepts, as its kernel does, and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def mnist(root: Path) -> DataConfig:
    return DataConfig(name="mnist", root=str(root))


def failure(tmp_path: Path, root: Path | None = None) -> str:
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        prepare_data(mnist(root or tmp_path / "files"), cache_dir=tmp_path / "cache")
    # A guard against waiting for ever: the timeouts above add up to 2 s.
    assert time.monotonic() - started < 15
    return str(caught.value)


def test_an_absent_set_is_downloaded_and_decoded(mirror: Mirror, tmp_path: Path) -> None:
    root = tmp_path / "files"
    rows = map_images(open_cache(mnist(root), tmp_path / "cache"), None)
    assert torch.equal(rows.inputs[:, 0], torch.from_numpy(IMAGES))
    assert [path.name for path in root.iterdir()] == ["MNIST"]
    n_asked = len(mirror.asked)
    prepare_data(mnist(root), cache_dir=tmp_path / "another")
    assert len(mirror.asked) == n_asked


def test_cifar_is_downloaded_and_decoded(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = cifar_files()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    mirror.files = {"cifar.tar.gz": packed.getvalue()}
    cifar = torchvision.datasets.CIFAR10
    sums = [[name, md5(content)] for name, content in files.items()]
    monkeypatch.setattr(cifar, "url", mirror.url + "cifar.tar.gz")
    monkeypatch.setattr(cifar, "filename", "cifar.tar.gz")
    monkeypatch.setattr(cifar, "tgz_md5", md5(packed.getvalue()))
    monkeypatch.setattr(cifar, "train_list", sums[:5])
    monkeypatch.setattr(cifar, "test_list", sums[5:6])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": sums[6][1]})
    config = DataConfig(name="cifar10", root=str(tmp_path / "files"))
    assert open_cache(config, tmp_path / "cache").content.about["shape"] == [10, 3, 32, 32]


def test_archives_at_hand_are_unpacked_without_the_network(mirror: Mirror, tmp_path: Path) -> None:
    folder = tmp_path / "files/MNIST/raw"
    folder.mkdir(parents=True)
    for name, content in mirror.files.items():
        (folder / name).write_bytes(content)
    prepare_data(mnist(tmp_path / "files"), cache_dir=tmp_path / "cache")
    assert mirror.asked == []


def test_the_mirror_that_answers_is_used(
    mirror: Mirror, silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors = [silent, "http://127.0.0.1:1/", mirror.url]
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", mirrors)
    prepare_data(mnist(tmp_path / "files"), cache_dir=tmp_path / "cache")
    assert torchvision.datasets.MNIST.mirrors == mirrors


def test_every_mirror_that_fails_is_told_with_its_reason(
    mirror: Mirror, silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.files = {}
    mirrors = [mirror.url, "http://127.0.0.1:1/", silent, "http://sweeper.invalid/"]
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", mirrors)
    first, looked, reason, ways_out = failure(tmp_path).splitlines()
    assert first == "the data set 'mnist' is not to be had"
    assert looked == (
        f"  looked in {tmp_path}/files/MNIST/raw (data.root): no train-images-idx3-ubyte, "
        "train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"
    )
    assert reason.startswith("  no mirror answers: ")
    assert f"{mirror.url}train-images-idx3-ubyte.gz: HTTP 404 Not Found; " in reason
    assert "http://127.0.0.1:1/train-images-idx3-ubyte.gz: " in reason
    assert "Connection refused" in reason
    assert f"{silent}train-images-idx3-ubyte.gz: " in reason
    assert "http://sweeper.invalid/train-images-idx3-ubyte.gz: " in reason
    assert ways_out == (
        "  ways out: set SWEEPER_DATA or data.root to a folder that holds MNIST/raw; or set "
        "`data.fallback: digits`; or use `data.name: digits`"
    )
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize("answers", [0, 1, 2, 4])
def test_a_host_that_falls_silent_ends_the_download(
    mirror: Mirror, tmp_path: Path, answers: int
) -> None:
    mirror.answers = answers
    text = failure(tmp_path)
    assert "timed out" in text or "no answer within 0.4 s" in text
    assert "ways out: set SWEEPER_DATA" in text
    assert list((tmp_path / "files").rglob("*-ubyte*")) == []


def test_a_wrong_checksum_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["train-labels-idx1-ubyte.gz"] = b"<html>log in to this network</html>"
    text = failure(tmp_path)
    assert "the download failed: Error downloading train-labels-idx1-ubyte.gz" in text
    assert "File not found or corrupted" in text
    assert list((tmp_path / "files").rglob("*-ubyte*")) == []


def test_a_root_that_cannot_be_written_is_told(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = failure(tmp_path, root=tmp_path / "file/below")
    assert f"{tmp_path}/file/below cannot be written, so nothing can go there" in text
    assert mirror.asked == []


def test_the_default_timeouts_add_up_to_less_than_fifteen_seconds() -> None:
    assert download.PROBE_TIMEOUT_S + 3 * download.READ_TIMEOUT_S < 15
