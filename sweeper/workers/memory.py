"""The C library's memory allocator, set for work that takes and frees the same blocks each step.

By default glibc gives large freed blocks back to the system, which hands them out again page by
page, each cleared and mapped anew. A training step on a CPU frees megabytes and takes them again
at once: a tenth of the step of a CNN with 16 and 32 channels went there (batch 64, AMD EPYC).
"""

import ctypes
import sys
from functools import cache
from typing import TYPE_CHECKING

from sweeper.workers.cgroup import available_memory

if TYPE_CHECKING:
    import torch

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Blocks up to this size, and so much free memory in all, stay with the process.
_KEPT_BYTES = 2**30
#: All that older versions allow for blocks.
_LARGEST_BLOCK_BYTES = 2**25


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


@cache
def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None


def resident_limit(device: "torch.device", n_sharing: int = 1) -> int:
    """Half of a device's memory in bytes; of a GPU's, an equal part for each that shares it.

    In a CPU's memory, of which a job may have but a part, all workers map the same pages.
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_properties(device).total_memory // (2 * n_sharing)
    # All of it rather than what is free at the moment: the same study takes the same path.
    return available_memory() // 2
