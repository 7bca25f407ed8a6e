"""sweeper.workers.memory; the allocator in a process of its own, as it stays set."""

import subprocess
import sys

import pytest
import torch

from sweeper.workers.cgroup import available_memory
from sweeper.workers.memory import resident_limit

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
