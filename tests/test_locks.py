import shutil
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from sweeper.locks import FileLock, locality
from tests.support.forks import kill, started
from tests.support.sweep_studies import in_processes


def hold(path: Path, is_held: Event) -> None:
    FileLock(path).acquire()
    is_held.set()
    signal.pause()


def count_up(_: int, path: Path, counter: Path) -> None:
    lock = FileLock(path)
    for _ in range(50):
        with lock.held():
            counter.write_text(str(int(counter.read_text()) + 1))


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


def test_a_copy_of_a_folder_has_another_locality(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    shutil.copytree(tmp_path / "study", tmp_path / "copy")
    assert locality(tmp_path / "study") == locality(tmp_path / "study")
    assert locality(tmp_path / "study") != locality(tmp_path / "copy")
