"""Memory that workers share; the allocator in a process of its own, as it stays set."""

import os
import subprocess
import sys
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch

from sweeper.workers.memory import (
    LaneMemory,
    Room,
    available_memory,
    resident_limit,
    return_idle_memory,
)
from tests.support.forks import FORKS

#: Blocks that are freed and taken again, then the pages that this faulted in, kept or returned.
PAGES = """
import resource
from sweeper.workers.memory import keep_freed_memory, return_freed_memory

def n_faults(between):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        b"\1" * (24 << 20)  # written to, as zeros need no pages
        between()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
n_faults(lambda: None)
print(n_faults(lambda: None), n_faults(return_freed_memory))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is set")
def test_a_block_that_was_freed_is_there_again_until_it_is_returned() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PAGES], capture_output=True, text=True, check=True
    )
    kept, returned = map(int, done.stdout.split())
    assert kept < 1000 < 20 * 1000 < returned


def test_workers_share_the_pages_of_a_cpus_memory() -> None:
    cpu = torch.device("cpu")
    assert resident_limit(cpu, 1) == resident_limit(cpu, 3) == available_memory() // 2


def group_of(folder: Path, limit: int) -> Path:
    """A file tree whose kernel limits the memory of this process."""
    for path, text in {
        "proc/self/mountinfo": "31 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "proc/self/cgroup": "0::/a\n",
        "sys/fs/cgroup/a/memory.max": str(limit),
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_memory_is_that_of_the_machine_or_of_the_group_if_less(tmp_path: Path) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert available_memory(group_of(tmp_path / "small", physical // 2)) == physical // 2
    assert available_memory(group_of(tmp_path / "large", 2 * physical)) == physical


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
            assert not waiting.is_inside.wait(0.01)
    assert waiting.is_inside.wait(60)
    waiting.leave()


def test_who_dies_inside_leaves_the_room(tmp_path: Path) -> None:
    guest = Guest(tmp_path / "cpu.room", alone=True)
    assert guest.is_inside.wait(60)
    guest.process.kill()
    guest.process.join()
    assert can_enter(Room(tmp_path / "cpu.room"), alone=True)


GIB = 2**30


class FakeDevice:
    """A GPU's memory, told by hand: there is none here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free, self.taken = 80 * GIB, 0
        monkeypatch.setattr(
            "sweeper.workers.memory._device_bytes", lambda device: (self.free, self.taken)
        )


def test_no_further_lane_fits_before_one_has_shown_what_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu, notes = FakeDevice(monkeypatch), list[str]()
    memory = LaneMemory(torch.device("cuda:0"), notes.append)
    assert memory.fitting(7, 1) == 0
    assert notes == []
    gpu.taken, gpu.free = 10 * GIB, 70 * GIB
    assert memory.fitting(7, 1) == 5  # of 70 GiB a fifth stays free
    assert memory.fitting(7, 1) == 5
    assert notes == [
        "by what trials have taken so far, the device has memory for 6 at once, not 8; others "
        "begin as there is room"
    ]
    gpu.taken, gpu.free = 60 * GIB, 20 * GIB  # of six, as expected
    assert memory.fitting(2, 6) == 1
    gpu.free = 50 * GIB  # three have ended: what all took was that of six
    assert memory.fitting(5, 3) == 4


def test_much_that_lies_idle_on_a_gpu_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, returned = torch.device("cuda:0"), list[torch.device]()
    monkeypatch.setattr("sweeper.workers.memory.return_device_memory", returned.append)
    monkeypatch.setattr("sweeper.workers.memory._idle_part", lambda device: 0.1)
    return_idle_memory(gpu)
    assert returned == []
    return_idle_memory(gpu, n_sharing=3)
    return_idle_memory(torch.device("cpu"), n_sharing=3)
    assert returned == [gpu]


def test_lanes_on_a_cpu_are_not_bounded_by_what_others_take() -> None:
    assert LaneMemory(torch.device("cpu"), pytest.fail).fitting(7, 1) == 7
