"""Limits of control groups, in file trees as kernels, containers and schedulers make them."""

import os
from pathlib import Path

import pytest

from sweeper.workers.cgroup import count_memory_kills, cpu_quota, memory_limit
from sweeper.workers.devices import available_cores
from tests.support.control_groups import limit_cores, limit_memory, real_group, run_in

GIB = 2**30
V2 = "35 24 0:30 {root} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "33 32 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 32 0:31 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
NO_LIMIT_V1 = str(2**63 - 4096)


def tree(folder: Path, mountinfo: str, groups: str, files: dict[str, str]) -> Path:
    """A file tree with those files below ``/sys/fs/cgroup``; what this process reads as ``/``."""
    process = folder / "proc/self"
    process.mkdir(parents=True)
    (process / "mountinfo").write_text("28 1 259:2 / / rw - ext4 /dev/sda1 rw\n" + mountinfo)
    (process / "cgroup").write_text(groups)
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return folder


def v2(folder: Path, files: dict[str, str], *, group: str = "/", seen: str = "/") -> Path:
    return tree(folder, V2.format(root=seen), f"0::{group}\n", files)


def v1(folder: Path, files: dict[str, str], *, group: str = "/", seen: str = "/") -> Path:
    groups = f"12:memory:{group}\n4:cpu,cpuacct:{group}\n1:name=systemd:{group}\n0::{group}\n"
    return tree(folder, V1.format(root=seen), groups, files)


def test_where_there_are_no_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    assert memory_limit(tmp_path) is None
    assert count_memory_kills(tmp_path) == 0


def test_in_a_container_its_group_is_mounted_as_the_root(tmp_path: Path) -> None:
    files = {"cpu.max": "150000 100000", "memory.max": str(3 * GIB)}
    root = v2(tmp_path, files)
    assert cpu_quota(root) == 1.5
    assert memory_limit(root) == 3 * GIB


def test_groups_around_limit_as_well(tmp_path: Path) -> None:
    job = "system.slice/slurmstepd.scope/job_7"
    files = {
        f"{job}/cpu.max": "400000 100000",
        f"{job}/memory.max": str(2 * GIB),
        f"{job}/step_0/cpu.max": "max 100000",
        f"{job}/step_0/memory.max": "max",
        f"{job}/step_0/user/task_0/cpu.max": "max 100000",
        f"{job}/step_0/user/task_0/memory.max": str(4 * GIB),
        "system.slice/memory.max": str(64 * GIB),
    }
    root = v2(tmp_path, files, group=f"/{job}/step_0/user/task_0")
    assert cpu_quota(root) == 4
    assert memory_limit(root) == 2 * GIB


def test_max_is_no_limit(tmp_path: Path) -> None:
    root = v2(tmp_path, {"cpu.max": "max 100000", "memory.max": "max"})
    assert cpu_quota(root) is None
    assert memory_limit(root) is None


def test_version_1_is_read_too(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/slurm/uid_5/job_7/cpu.cfs_quota_us": "250000",
        "cpu,cpuacct/slurm/uid_5/job_7/cpu.cfs_period_us": "50000",
        "cpu,cpuacct/slurm/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/slurm/cpu.cfs_period_us": "100000",
        "memory/slurm/uid_5/job_7/memory.limit_in_bytes": NO_LIMIT_V1,
        "memory/slurm/uid_5/memory.limit_in_bytes": str(5 * GIB),
        "memory/memory.limit_in_bytes": NO_LIMIT_V1,
    }
    root = v1(tmp_path, files, group="/slurm/uid_5/job_7")
    assert cpu_quota(root) == 5
    assert memory_limit(root) == 5 * GIB


def test_the_huge_number_of_version_1_is_no_limit(tmp_path: Path) -> None:
    root = v1(tmp_path, {"memory/memory.limit_in_bytes": NO_LIMIT_V1})
    assert memory_limit(root) is None


@pytest.mark.parametrize(
    ("group", "seen"),
    [
        ("/docker/4f2a", "/docker/4f2a"),  # mounted without a name space of its own
        ("/kubepods/pod9/4f2a", "/"),  # a name from outside, of which nothing is seen here
        ("/../other", "/"),  # moved out of the name space
    ],
)
def test_a_containers_group_may_go_by_its_name_outside(
    tmp_path: Path, group: str, seen: str
) -> None:
    files = {"memory/memory.limit_in_bytes": str(GIB), "cpu,cpuacct/cpu.cfs_quota_us": "200000"}
    files["cpu,cpuacct/cpu.cfs_period_us"] = "100000"
    root = v1(tmp_path, files, group=group, seen=seen)
    assert memory_limit(root) == GIB
    assert cpu_quota(root) == 2


def test_only_what_lies_below_the_mounted_group_is_seen(tmp_path: Path) -> None:
    files = {"job/memory.max": str(GIB), "memory.max": str(4 * GIB)}
    root = v2(tmp_path, files, group="/pods/4f2a/job", seen="/pods/4f2a")
    assert memory_limit(root) == GIB


def test_both_versions_may_stand_side_by_side(tmp_path: Path) -> None:
    mountinfo = V1.format(root="/") + (
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    files = {"memory/a/memory.limit_in_bytes": str(GIB), "unified/a/cpu.pressure": "some"}
    root = tree(tmp_path, mountinfo, "3:memory:/a\n0::/a\n", files)
    assert memory_limit(root) == GIB
    assert cpu_quota(root) is None


@pytest.mark.parametrize(
    ("quota", "cores"), [("150000", 1), ("50000", 1), ("100000", 1), ("100000000", None)]
)
def test_whole_cores_count_and_one_at_least(tmp_path: Path, quota: str, cores: int | None) -> None:
    root = v2(tmp_path, {"cpu.max": f"{quota} 100000"})
    assert available_cores(root) == (cores or available_cores(tmp_path / "nothing"))


EVENTS = "low 0\nhigh 0\nmax 31\noom 4\noom_kill {n}\noom_group_kill 0"


def test_kills_are_counted_by_the_group_that_has_the_memory(tmp_path: Path) -> None:
    files = {"a/memory.events": EVENTS.format(n=2), "memory.events": EVENTS.format(n=9)}
    root = v2(tmp_path, {**files, "a/b/cgroup.procs": "7"}, group="/a/b")
    (root / "proc/vmstat").write_text("oom_kill 30\n")  # also of other jobs
    assert count_memory_kills(root) == 2


def test_version_1_counts_kills_elsewhere(tmp_path: Path) -> None:
    control = "oom_kill_disable 0\nunder_oom 0\noom_kill 3"
    assert count_memory_kills(v1(tmp_path, {"memory/memory.oom_control": control})) == 3


def test_where_groups_do_not_count_kills_the_machine_does(tmp_path: Path) -> None:
    root = v2(tmp_path, {"cpu.max": "max 100000"})
    (root / "proc/vmstat").write_text("pgfault 7\noom_kill 30\n")
    assert count_memory_kills(root) == 30


def test_the_kernels_own_limit_and_kill_are_seen() -> None:
    code = """
import os
from sweeper.workers.cgroup import count_memory_kills, memory_limit
from sweeper.workers.memory import available_memory
before = count_memory_kills()
if not (child := os.fork()):
    bytearray(b"x") * 2**28
    os._exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(memory_limit(), available_memory(), status, count_memory_kills() - before)
"""
    with real_group("memory", f"sweeper-test-{os.getpid()}") as group:
        limit_memory(group, 2**27)
        assert run_in(group, code) == f"{2**27} {2**27} -9 1\n"


def test_the_kernels_own_quota_is_seen() -> None:
    code = "from sweeper.workers.devices import available_cores; print(available_cores())"
    with real_group("cpu", f"sweeper-test-{os.getpid()}") as group:
        limit_cores(group, 1.5)
        assert run_in(group, code) == "1\n"
