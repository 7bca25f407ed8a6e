"""Memory that the workers of a machine share: how much each may take, and when it gives it back.

By default glibc gives large freed blocks back to the system, which hands them out again page by
page, each cleared and mapped anew. A training step on a CPU frees megabytes and takes them again
at once: a tenth of the step of a CNN with 16 and 32 channels went there (batch 64, AMD EPYC).
"""

import ctypes
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.locks import FileLock
from sweeper.workers.cgroup import memory_limit

if TYPE_CHECKING:
    import torch

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Blocks up to this size, and so much free memory in all, stay with the process.
_KEPT_BYTES = 2**30
#: All that older versions allow for blocks.
_LARGEST_BLOCK_BYTES = 2**25
_POLL_S = 0.1
#: Of a GPU's free memory, what further lanes leave: others may be larger, and grow.
_MARGIN = 0.2
#: Of a GPU's memory, what its workers may keep for nobody.
_IDLE = 0.25


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that the processes of the group can have: of the machine, or of the group if less.

    Args:
        root: Where ``proc`` and the rest of the file tree are.
    """
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = memory_limit(root)
    return physical if limit is None else min(physical, limit)


def resident_limit(device: "torch.device", n_sharing: int = 1) -> int:
    """Bytes of data that may stay on a device: half of its memory, of a GPU's an equal part each.

    In a CPU's memory, of which a job may have but a part, all workers map the same pages.

    Args:
        device: Where trials compute.
        n_sharing: Workers on that device.
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_properties(device).total_memory // (2 * n_sharing)
    # All of it rather than what is free at the moment: the same study takes the same path.
    return available_memory() // 2


class Room:
    """What many processes share at a time, or one has alone: a device with its memory.

    Who waits to be alone is not passed by others.
    """

    def __init__(self, path: Path) -> None:
        self._door = FileLock(path)
        self._gate = FileLock(path.with_suffix(".gate"))
        os.register_at_fork(after_in_child=self._door.drop)

    @contextmanager
    def entered(self, *, alone: bool, while_waiting: Callable[[], None]) -> Iterator[None]:
        """Be inside within a ``with`` block.

        Args:
            alone: Wait until nobody else is inside, and keep others out.
            while_waiting: Called again and again; may raise to give up.
        """
        _wait(lambda: self._gate.try_acquire(), while_waiting)
        try:
            _wait(lambda: self._door.try_acquire(shared=not alone), while_waiting)
        finally:
            self._gate.release()
        try:
            yield
        finally:
            self._door.release()


def _wait(try_acquire: Callable[[], bool], while_waiting: Callable[[], None]) -> None:
    while not try_acquire():
        while_waiting()
        time.sleep(_POLL_S)


def keep_freed_memory() -> None:
    """Keep what is freed until :func:`return_freed_memory`; for a process that trains."""
    if libc := _glibc():
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES) or libc.mallopt(
            _M_MMAP_THRESHOLD, _LARGEST_BLOCK_BYTES
        )
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def return_freed_memory() -> None:
    """Give the system what is free; between two trials, which may need very different blocks."""
    if libc := _glibc():
        libc.malloc_trim(0)


def return_device_memory(device: "torch.device") -> None:
    """Give back what earlier trials have left on a GPU, for one that needs it alone."""
    if device.type == "cuda":
        import torch

        if torch.cuda.memory_reserved(device):
            gc.collect()
            torch.cuda.empty_cache()


def return_idle_memory(device: "torch.device", n_sharing: int = 1) -> None:
    """Give back what earlier trials have left on a GPU, if that is much.

    What captured programs computed in serves no others once they are gone. torch would give it
    back when this process finds no more memory; but others find none before.

    Args:
        device: Where trials compute.
        n_sharing: Workers on that device.
    """
    if device.type == "cuda" and _idle_part(device) > _IDLE / n_sharing:
        return_device_memory(device)


def _idle_part(device: "torch.device") -> float:
    """Of a GPU's memory, what this process keeps without a use for it."""
    import torch

    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return unused / torch.cuda.get_device_properties(device).total_memory


class LaneMemory:
    """How many trials a GPU has memory for at once, by what those at work have taken.

    Args:
        device: Where they compute; a CPU's memory is not looked at.
        note: Told once that these are fewer than were wanted.
    """

    def __init__(self, device: "torch.device", note: Callable[[str], None]) -> None:
        self._device = device
        self._note = note
        self._most = 1
        self._is_told = False

    def fitting(self, n_wanted: int, n_at_work: int) -> int:
        """Of so many more trials those that there is memory for.

        Args:
            n_wanted: >= 1.
            n_at_work: In this process, >= 1. While none of them has taken any memory, nobody can
                tell, and none fits.
        """
        if self._device.type != "cuda":
            return n_wanted
        self._most = max(self._most, n_at_work)
        free, taken = _device_bytes(self._device)
        if not taken:
            return 0
        n = min(n_wanted, int(free * (1 - _MARGIN) / (taken / self._most)))
        if n < n_wanted and not self._is_told:
            self._is_told = True
            self._note(
                f"by what trials have taken so far, the device has memory for {n_at_work + n} at "
                f"once, not {n_at_work + n_wanted}; others begin as there is room"
            )
        return n


def _device_bytes(device: "torch.device") -> tuple[int, int]:
    """Of a GPU: what this process could have more, and the most that it has had at once."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + unused, torch.cuda.max_memory_reserved(device)


@cache
def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
