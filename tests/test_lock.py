import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from sweep_studies import SPAWN, in_processes

from sweeper.lock import FileLock, Presence, is_present


def hold(path: Path, is_held: Event) -> None:
    FileLock(path).acquire()
    is_held.set()
    signal.pause()


def be_present(folder: Path, is_there: Event) -> None:
    Presence(folder, "worker")
    is_there.set()
    signal.pause()


def be_present_with_a_forked_child(folder: Path, is_there: Event) -> None:
    Presence(folder, "worker")
    if os.fork() == 0:
        (folder / "child").write_text(str(os.getpid()))
        is_there.set()
    signal.pause()


def count_up(_: int, path: Path, counter: Path) -> None:
    lock = FileLock(path)
    for _ in range(50):
        with lock.held():
            counter.write_text(str(int(counter.read_text()) + 1))


def started(target: object, *args: object) -> multiprocessing.Process:
    """A process that has set the event, which is its last argument."""
    event = SPAWN.Event()
    process = SPAWN.Process(target=target, args=(*args, event))  # type: ignore[arg-type]
    process.start()
    event.wait()
    return process  # type: ignore[return-value]


def kill(process: multiprocessing.Process) -> None:
    process.kill()
    process.join()


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    in_processes(3, count_up, tmp_path / "lock", counter)
    assert counter.read_text() == "150"


def test_a_lock_that_is_held_cannot_be_tried_for(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "a" / "lock"), FileLock(tmp_path / "a" / "lock")
    with first.held():
        assert not second.try_acquire()
    assert second.try_acquire()
    second.release()


def test_a_lock_is_given_back_when_the_block_raises(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with pytest.raises(ZeroDivisionError), lock.held():
        raise ZeroDivisionError
    assert lock.try_acquire()
    lock.release()


def test_a_killed_holder_frees_its_lock(tmp_path: Path) -> None:
    holder = started(hold, tmp_path / "lock")
    assert not FileLock(tmp_path / "lock").try_acquire()
    kill(holder)
    lock = FileLock(tmp_path / "lock")
    assert lock.try_acquire()
    lock.release()


def test_a_process_is_present_until_it_leaves(tmp_path: Path) -> None:
    assert not is_present(tmp_path, "me")
    presence = Presence(tmp_path, "me")
    assert is_present(tmp_path, "me")
    presence.leave()
    assert not is_present(tmp_path, "me")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_cannot_share_a_name(tmp_path: Path) -> None:
    presence = Presence(tmp_path, "me")
    with pytest.raises(RuntimeError, match=r"me is locked: two processes share one name"):
        Presence(tmp_path, "me")
    presence.leave()


def test_a_killed_process_is_absent_and_cleared_up_after(tmp_path: Path) -> None:
    process = started(be_present, tmp_path)
    assert is_present(tmp_path, "worker")
    kill(process)
    assert (tmp_path / "worker").exists()
    assert not is_present(tmp_path, "worker")
    assert not (tmp_path / "worker").exists()


def test_a_forked_child_does_not_keep_up_its_parents_presence(tmp_path: Path) -> None:
    process = started(be_present_with_a_forked_child, tmp_path)
    assert is_present(tmp_path, "worker")
    kill(process)
    assert not is_present(tmp_path, "worker")
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
