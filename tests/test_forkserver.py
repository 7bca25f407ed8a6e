"""sweeper.forkserver."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.forkserver import Child, ForkServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone")


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def server(notes: list[str]) -> Iterator[ForkServer]:
    server = ForkServer(notes.append)
    yield server
    server.close()


def start(server: ForkServer, log_path: Path) -> tuple[Child, socket.socket]:
    """A worker that waits for its order on the socket."""
    ours, theirs = socket.socketpair()
    with theirs, log_path.open("ab") as log:
        child = server.start(stdin=theirs.fileno(), output=log.fileno(), n_threads=1)
    return child, ours


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_forked_worker_is_a_child_and_leads_its_session(
    server: ForkServer, tmp_path: Path
) -> None:
    child, channel = start(server, tmp_path / "log")
    with channel:
        assert child.poll() is None
        assert parent_of(child.pid) == os.getpid()
        assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid
        child.send_signal(signal.SIGKILL)
        assert child.wait() == child.returncode == -signal.SIGKILL


def test_it_ends_with_its_own_exit_code_and_prints_into_its_own_log(
    server: ForkServer, tmp_path: Path
) -> None:
    children = [start(server, tmp_path / name) for name in ("a", "b")]
    for child, channel in children:
        channel.close()  # instead of an order
        assert child.wait() == 1
    for name in ("a", "b"):
        text = (tmp_path / name).read_text()
        assert text.count("EOFError: a worker is started by its agent") == 1


def test_forked_workers_share_the_import_of_torch(server: ForkServer, tmp_path: Path) -> None:
    children = [start(server, tmp_path / str(i)) for i in range(2)]
    for child, channel in children:
        rollup = Path(f"/proc/{child.pid}/smaps_rollup").read_text()
        private_kb = sum(
            int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_")
        )
        assert private_kb < 50_000  # with an import of its own it is six times that
        channel.close()
        child.wait()


def test_without_the_server_workers_start_by_themselves_and_that_is_said(
    server: ForkServer, notes: list[str], tmp_path: Path
) -> None:
    lost: Any = server._server
    lost.kill()
    child, channel = start(server, tmp_path / "log")
    channel.close()
    assert child.wait() == 1
    [note] = notes
    assert note.startswith("the process that forks workers is lost")


def test_workers_outlive_the_server(server: ForkServer, tmp_path: Path) -> None:
    child, channel = start(server, tmp_path / "log")
    server.close()
    with channel:
        assert child.poll() is None
    assert child.wait() == 1


def test_a_lost_server_of_several_threads_never_forks(
    notes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    server = ForkServer(notes.append)
    child, channel = start(server, tmp_path / "log")
    channel.close()
    child.wait()
    server.close()
    if os.cpu_count() != 1:  # OpenBLAS starts no more threads than there are cores
        assert len(notes) == 1
