"""What the kernel lets this process and its kin have: the limits of their control groups.

A scheduler or a container puts processes into a group whose memory and time are limited, by the
group itself or by one around it. Both versions are read, as they may stand side by side
(``man 7 cgroups``). Where there are no groups, nothing is limited.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from sweeper.study.storage.filesystem import Mount, parse_mounts, read_mountinfo

_ROOT = Path("/")
#: Version 1 has a number where nothing is limited: 2**63 less a page.
_UNLIMITED = 2**62


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Seconds of all cores together that may be used in a second; None means no limit.

    Args:
        root: Where ``proc`` and the rest of the file tree are.
    """
    folders = [folder for chain in _chains("cpu", root) for folder in chain]
    return min((quota for folder in folders for quota in _quotas(folder)), default=None)


def memory_limit(root: Path = _ROOT) -> int | None:
    """Bytes that the processes of the group may take together; None means no limit."""
    found = [
        int(text)
        for chain in _chains("memory", root)
        for folder in chain
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := _read(folder / name)).isdigit()  # else it is absent, or `max`
    ]
    return min((limit for limit in found if limit < _UNLIMITED), default=None)


def count_memory_kills(root: Path = _ROOT) -> int:
    """How often Linux has killed a process of this group for want of memory; 0 elsewhere.

    A worker that was killed by SIGKILL while the number grew most likely was such a process.
    Where groups do not count, those of the whole machine do.
    """
    counts = [count for chain in _chains("memory", root) for count in _nearest_count(chain)]
    return sum(counts or _counts(root / "proc/vmstat"))


def _quotas(folder: Path) -> Iterator[float]:
    words = _read(folder / "cpu.max").split() or [
        _read(folder / "cpu.cfs_quota_us"),
        _read(folder / "cpu.cfs_period_us"),
    ]
    quota, period = words
    if quota.isdigit():  # else it is absent, `max`, or -1
        yield int(quota) / int(period)


def _nearest_count(chain: tuple[Path, ...]) -> list[int]:
    """Of the first group that counts: a process belongs to that one as far as memory goes."""
    for folder in chain:
        for name in ("memory.events", "memory.oom_control"):
            if counts := _counts(folder / name):
                return counts
    return []


def _counts(path: Path) -> list[int]:
    words = _read(path).split()
    return [int(words[words.index("oom_kill") + 1])] if "oom_kill" in words else []


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


@cache  # a process stays where it was put, and this is asked many times a second
def _chains(controller: str, root: Path) -> tuple[tuple[Path, ...], ...]:
    """Folders of this process's groups, the innermost first: a chain for each place they show."""
    mounts = parse_mounts(read_mountinfo(root))
    chains = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        for mount in mounts:
            if _shows(mount, controllers, controller):
                chains.append(_chain(mount, PurePosixPath(group), root))
    return tuple(chains)


def _shows(mount: Mount, controllers: str, controller: str) -> bool:
    if not controllers:
        return mount.kind == "cgroup2"
    is_wanted = controller in controllers.split(",")
    return is_wanted and mount.kind == "cgroup" and controller in mount.options


def _chain(mount: Mount, group: PurePosixPath, root: Path) -> tuple[Path, ...]:
    below = PurePosixPath()
    # In a container the group may go by a name that only means something outside: then what is
    # mounted is the container's own.
    if group.is_relative_to(mount.root):
        inside = group.relative_to(mount.root)
        below = below if ".." in inside.parts else inside
    base = root / mount.point.relative_to("/")
    folder = base / below
    around = [folder, *folder.parents]
    return tuple(path for path in around[: len(below.parts) + 1] if path.is_dir())
