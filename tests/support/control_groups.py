"""Control groups of the kernel's own, for processes of a test."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MOUNTED = Path("/sys/fs/cgroup")


@contextmanager
def real_group(controller: str, name: str) -> Iterator[Path]:
    """A new group for that controller; skips where this process may not make one.

    In version 1 inside this process's own, in version 2, where a group with processes has no
    groups inside, beside it.
    """
    folder = _place(controller) / name
    try:
        folder.mkdir()
    except OSError as exc:
        pytest.skip(f"needs a control group, and the kernel refuses it: {exc}")
    try:
        yield folder
    finally:
        deadline = time.monotonic() + 10
        while (folder / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        folder.rmdir()


def _place(controller: str) -> Path:
    file = Path("/proc/self/cgroup")
    groups = {
        names: group.lstrip("/")
        for _, names, group in (line.split(":", 2) for line in _lines(file))
    }
    for names, group in groups.items():
        if controller in names.split(","):
            return _MOUNTED / names / group
    beside = (_MOUNTED / groups.get("", "")).parent if groups.get("") else _MOUNTED
    if controller not in " ".join(_lines(beside / "cgroup.subtree_control")).split():
        pytest.skip(f"needs a control group, and none here passes on {controller!r}")
    return beside


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def limit_memory(group: Path, n_bytes: int) -> None:
    """Let the processes of a group take so much, and no swap beside it."""
    names = ("memory.max", "memory.limit_in_bytes")
    for name in names:
        if (group / name).exists():
            (group / name).write_text(str(n_bytes))
    swap = group / "memory.swap.max"
    if swap.exists():
        swap.write_text("0")


def limit_cores(group: Path, cores: float) -> None:
    """Let the processes of a group use so many seconds of cores in a second."""
    quota = str(round(cores * 100_000))
    if (group / "cpu.max").exists():
        (group / "cpu.max").write_text(f"{quota} 100000")
    else:
        (group / "cpu.cfs_quota_us").write_text(quota)


def run_in(group: Path, code: str, *words: str) -> str:
    """What a new process prints that has joined the group before it reads anything.

    Its arguments are the words.
    """
    join = "import os, sys; open(sys.argv.pop(1) + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
    done = subprocess.run(
        [sys.executable, "-c", join + code, str(group), *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
