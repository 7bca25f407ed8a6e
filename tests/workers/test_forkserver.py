"""sweeper.workers.forkserver."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.config.reader import parse_study
from sweeper.data.labelled.location import reading_modules
from sweeper.study.samplers.auto import drawing_modules
from sweeper.workers import forkserver
from sweeper.workers.forkserver import Child, ForkedProcess, ForkServer
from tests.support.sweep_studies import plain_study

pytestmark = [
    pytest.mark.gate,  # servers and workers of its own import torch
    pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """One for all, as it imports torch. A number of threads for numpy keeps it from nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBLAS_NUM_THREADS", "2")
        patch.delenv("OMP_WAIT_POLICY", raising=False)
        server = ForkServer(print)
    yield server
    server.close()


def start(server: ForkServer, log_path: Path) -> tuple[Child, socket.socket]:
    """A worker that waits for its order on the socket."""
    ours, theirs = socket.socketpair()
    with theirs, log_path.open("ab") as log:
        child = server.start(stdin=theirs.fileno(), output=log.fileno(), n_threads=1)
    return child, ours


def fork(server: ForkServer, log_path: Path) -> tuple[Child, socket.socket]:
    """As :func:`start`, until the process lives a life of its own."""
    child, channel = start(server, log_path)
    assert isinstance(child, ForkedProcess)
    while Path(f"/proc/{child.pid}/comm").read_text() != "sweeper-worker\n":
        time.sleep(0.01)
    return child, channel


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_forked_worker_is_a_child_and_leads_its_session(
    server: ForkServer, tmp_path: Path
) -> None:
    child, channel = fork(server, tmp_path / "log")
    with channel:
        assert child.poll() is None
        assert parent_of(child.pid) == os.getpid()
        assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid
        child.send_signal(signal.SIGKILL)
        assert child.wait() == child.returncode == -signal.SIGKILL


def test_it_ends_with_its_own_exit_code_and_prints_into_its_own_log(
    server: ForkServer, tmp_path: Path
) -> None:
    children = [fork(server, tmp_path / name) for name in ("a", "b")]
    for child, channel in children:
        channel.close()  # instead of an order
        assert child.wait() == 1
    for name in ("a", "b"):
        text = (tmp_path / name).read_text()
        assert text.count("EOFError: a worker is started by its agent") == 1


def test_forked_workers_share_the_import_of_torch(server: ForkServer, tmp_path: Path) -> None:
    children = [fork(server, tmp_path / str(i)) for i in range(2)]
    for child, channel in children:
        rollup = Path(f"/proc/{child.pid}/smaps_rollup").read_text()
        private_kb = sum(
            int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_")
        )
        assert private_kb < 50_000  # with an import of its own it is six times that
        channel.close()
        child.wait()


def environment_of(child: Child) -> list[str]:
    """As it was when the process began that the worker was forked from."""
    return Path(f"/proc/{child.pid}/environ").read_text().split("\0")


def test_threads_without_work_sleep(server: ForkServer, tmp_path: Path) -> None:
    child, channel = fork(server, tmp_path / "log")
    with channel:
        assert "OMP_WAIT_POLICY=PASSIVE" in environment_of(child)
    child.wait()


def test_threads_without_work_spin_if_the_user_wants_them_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    own = ForkServer(print)
    child, channel = fork(own, tmp_path / "log")
    with channel:
        assert "OMP_WAIT_POLICY=ACTIVE" in environment_of(child)
    child.wait()
    own.close()


def test_without_a_server_workers_start_by_themselves_and_that_is_said(tmp_path: Path) -> None:
    notes: list[str] = []
    lost = ForkServer(notes.append)
    lost.begin()
    process: Any = lost._server
    process.kill()
    child, channel = start(lost, tmp_path / "log")
    channel.close()
    assert child.wait() == 1
    assert not isinstance(child, ForkedProcess)
    [note] = notes
    assert note.startswith("the process that forks workers is lost")
    lost.close()


THREADED = """
import threading, time
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
from sweeper.workers.forkserver import WORKER, serve
serve({WORKER: print})
"""


def test_a_server_of_several_threads_never_forks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forkserver, "_WORKER", [sys.executable, "-c", THREADED])
    notes: list[str] = []
    threaded = ForkServer(notes.append)
    child, channel = start(threaded, tmp_path / "log")
    channel.close()
    child.wait()
    assert not isinstance(child, ForkedProcess)
    [note] = notes
    assert "it has more than one thread, and a fork could copy a held lock" in note
    threaded.close()


def test_modules_of_a_study_are_imported_once_for_all_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    text = f"import os\nopen({str(mark)!r}, 'a').write(f'{{os.getpid()}} ')\n"
    (tmp_path / "needed_to_draw.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with closing(ForkServer(print)) as own:
        own.begin()
        own.require(["needed_to_draw"])
        for name in ("a", "b"):
            child, channel = fork(own, tmp_path / name)
            channel.close()
            child.wait()
        process: Any = own._server
        assert mark.read_text().split() == [str(process.pid)]


def test_what_reads_and_draws_starts_no_thread_in_the_server(tmp_path: Path) -> None:
    text = yaml.safe_dump(
        plain_study(
            sampler={"name": "gp"},
            data={"name": "audio", "path": "clips.csv", "sample_rate": 8000, "max_seconds": 1},
            model={"architecture": "cnn"},
        )
    )
    spec = parse_study(text, tmp_path / "small.yaml")
    with closing(ForkServer(print)) as own:
        own.begin()
        own.require([*drawing_modules(spec), *reading_modules(spec)])
        child, channel = fork(own, tmp_path / "log")
        channel.close()
        child.wait()


def test_a_server_that_nobody_needed_was_never_begun() -> None:
    unused = ForkServer(pytest.fail)
    unused.close()
    assert unused._server is None


def test_workers_outlive_the_server(server: ForkServer, tmp_path: Path) -> None:
    child, channel = fork(server, tmp_path / "log")
    server.close()  # so this is the last of the tests that share it
    with channel:
        assert child.poll() is None
    assert child.wait() == 1


#: Modules of the standard library that torch or what it needs imports.
SHADOWS = ("dis", "token", "random", "queue", "profile", "typing", "inspect", "socket")


def test_no_file_where_one_works_is_taken_for_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('mine')\n")
    monkeypatch.chdir(tmp_path)
    with closing(ForkServer(print)) as server:
        child, channel = fork(server, tmp_path / "log")
        channel.close()
        child.wait()
    assert "a worker is started by its agent" in (tmp_path / "log").read_text()
