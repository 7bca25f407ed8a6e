import shutil
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from sweeper.locks import FileLock, Room, locality
from tests.support.forks import FORKS, kill, started
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


def enter(path: Path, is_inside: Event, may_leave: Event, alone: bool) -> None:
    with Room(path).entered(alone=alone, while_waiting=lambda: None):
        is_inside.set()
        may_leave.wait()


class Guest:
    """A process that enters a room, and stays until it is told to leave."""

    def __init__(self, path: Path, *, alone: bool = False) -> None:
        self.is_inside, self.may_leave = FORKS.Event(), FORKS.Event()
        arguments = (path, self.is_inside, self.may_leave, alone)
        self.process = FORKS.Process(target=enter, args=arguments)
        self.process.start()

    def leave(self) -> None:
        self.may_leave.set()
        self.process.join()


class GaveUpError(Exception):
    """Somebody did not want to wait."""


def refuse_to_wait() -> None:
    raise GaveUpError


def can_enter(room: Room, *, alone: bool) -> bool:
    try:
        with room.entered(alone=alone, while_waiting=refuse_to_wait):
            return True
    except GaveUpError:
        return False


def test_a_room_is_shared_or_somebodys_alone(tmp_path: Path) -> None:
    room = Room(tmp_path / "cpu.room")
    first = Guest(tmp_path / "cpu.room")
    assert first.is_inside.wait(60)
    assert can_enter(room, alone=False)
    assert not can_enter(room, alone=True)
    first.leave()
    assert can_enter(room, alone=True)
    alone = Guest(tmp_path / "cpu.room", alone=True)
    assert alone.is_inside.wait(60)
    assert not can_enter(room, alone=False)
    alone.leave()
    assert can_enter(room, alone=False)


def test_who_waits_to_be_alone_is_not_passed_by(tmp_path: Path) -> None:
    room = Room(tmp_path / "cpu.room")
    with room.entered(alone=False, while_waiting=refuse_to_wait):
        waiting = Guest(tmp_path / "cpu.room", alone=True)
        while can_enter(Room(tmp_path / "cpu.room"), alone=False):
            assert not waiting.is_inside.is_set()
    assert waiting.is_inside.wait(60)
    waiting.leave()


def test_who_dies_inside_leaves_the_room(tmp_path: Path) -> None:
    guest = Guest(tmp_path / "cpu.room", alone=True)
    assert guest.is_inside.wait(60)
    guest.process.kill()
    guest.process.join()
    assert can_enter(Room(tmp_path / "cpu.room"), alone=True)


def test_a_copy_of_a_folder_has_another_locality(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    shutil.copytree(tmp_path / "study", tmp_path / "copy")
    assert locality(tmp_path / "study") == locality(tmp_path / "study")
    assert locality(tmp_path / "study") != locality(tmp_path / "copy")
