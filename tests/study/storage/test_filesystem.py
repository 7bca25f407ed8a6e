"""What lies under a path, read from lines that kernels have written."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.study.storage.filesystem import Locks, find_mount, parse_mounts, read_mountinfo
from tests.support.small_disk import small_disk

#: A node of a cluster: a local disk, shares beside and below each other, one mounted over another.
NODE = r"""
22 28 0:20 / /proc rw,nosuid,nodev,noexec,relatime shared:14 - proc proc rw
28 1 259:2 / / rw,relatime shared:1 - xfs /dev/nvme0n1p2 rw,attr2,inode64,noquota
35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
61 28 0:53 / /home rw,relatime shared:30 master:2 - autofs auto.home rw,fd=6,pgrp=1,timeout=300,direct
93 61 0:60 / /home rw,relatime shared:77 - nfs4 fs1:/home rw,vers=4.2,rsize=1048576,hard,proto=tcp,local_lock=none,addr=10.0.0.2
94 93 0:61 /proj /home/ann/my\040project rw,nosuid - lustre 10.0.0.9@o2ib:/scratch rw,flock,user_xattr
95 28 0:62 / /home2 rw - ext4 /dev/sdb1 rw
96 28 0:63 / /a\134b rw - tmpfs  rw,size=65536k
""".strip()  # noqa: E501


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/tmp/study", "xfs"),
        ("/home/bob", "nfs4"),  # not autofs, over which it lies
        ("/home/ann/my project", "lustre"),
        ("/home/ann/my project/mlruns/not/there/yet", "lustre"),
        ("/home/ann/my projects", "nfs4"),
        ("/home2/ann", "ext4"),
        (r"/a\b/c", "tmpfs"),
        ("/sys/fs/cgroup/job", "cgroup2"),
    ],
)
def test_the_innermost_and_latest_mount_counts(path: str, kind: str) -> None:
    mount = find_mount(Path(path), NODE)
    assert mount is not None
    assert mount.kind == kind


def test_a_mount_is_read_with_the_options_of_both_sides() -> None:
    mount = parse_mounts(NODE)[5]
    assert mount.point == Path("/home/ann/my project")
    assert mount.root == "/proj"
    assert mount.options == {"rw", "nosuid", "flock", "user_xattr"}
    assert str(mount) == "lustre (mounted at /home/ann/my project)"


@pytest.mark.parametrize(
    ("tail", "is_network", "locks"),
    [
        ("ext4 /dev/sda1 rw", False, Locks.HOLD),
        ("overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w", False, Locks.HOLD),
        ("tmpfs tmpfs rw,size=64m", False, Locks.HOLD),
        ("fuse.fuse-overlayfs fuse-overlayfs rw,user_id=0", False, Locks.HOLD),
        ("nfs4 fs1:/home rw,vers=4.2,hard,local_lock=none,addr=10.0.0.2", True, Locks.HOLD),
        ("nfs fs1:/home rw,vers=3,mountproto=udp,local_lock=none", True, Locks.HOLD),
        ("nfs fs1:/home rw,vers=3,nolock,local_lock=all", True, Locks.LOCAL),
        ("nfs fs1:/home rw,vers=3,local_lock=flock", True, Locks.LOCAL),
        ("nfs fs1:/home rw,vers=3,local_lock=posix", True, Locks.HOLD),
        ("lustre 10.0.0.9@o2ib:/scratch rw,flock,lazystatfs", True, Locks.HOLD),
        ("lustre 10.0.0.9@o2ib:/scratch rw,localflock,lazystatfs", True, Locks.LOCAL),
        ("lustre 10.0.0.9@o2ib:/scratch rw,lazystatfs", True, Locks.LOCAL),
        ("cifs //fs1/home rw,vers=3.1.1,username=ann,serverino", True, Locks.HOLD),
        ("cifs //fs1/home rw,vers=3.1.1,username=ann,nobrl", True, Locks.LOCAL),
        ("smb3 //fs1/home rw,vers=3.1.1,nobrl", True, Locks.LOCAL),
        ("fuse.sshfs ann@fs1:/home rw,user_id=1000,group_id=1000", True, Locks.LOCAL),
        ("fuse.s3fs s3fs rw,user_id=0,group_id=0", True, Locks.LOCAL),
        ("9p hostshare rw,access=client,trans=virtio", True, Locks.LOCAL),
        ("gpfs scratch rw", True, Locks.UNKNOWN),
        ("ceph 10.0.0.3:6789:/ rw,name=ann,acl", True, Locks.UNKNOWN),
        ("beegfs beegfs_nodev rw,cfgFile=/etc/beegfs/beegfs-client.conf", True, Locks.UNKNOWN),
        ("fuse.glusterfs gl1:/vol rw,user_id=0", True, Locks.UNKNOWN),
    ],
)
def test_what_a_file_system_promises(tail: str, is_network: bool, locks: Locks) -> None:
    [mount] = parse_mounts(f"94 93 0:61 / /shared rw,nosuid,relatime shared:9 - {tail}")
    assert (mount.is_network, mount.locks) == (is_network, locks)


def test_a_link_counts_as_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there")
    line = f"40 28 0:50 / {tmp_path}/there rw - nfs4 fs1:/x rw"
    mount = find_mount(tmp_path / "link/study", line)
    assert mount is not None
    assert mount.kind == "nfs4"


def test_where_the_kernel_keeps_no_list_nothing_is_known(tmp_path: Path) -> None:
    assert read_mountinfo(tmp_path) == ""
    assert find_mount(tmp_path, "") is None


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs with a space and more in its name."""
    with small_disk(tmp_path / "my small\tdisk\\é", "64k") as folder:
        yield folder


def test_a_real_mount_is_found(mounted: Path) -> None:
    mount = find_mount(mounted / "mlruns/studies/small", read_mountinfo())
    assert mount is not None
    assert (mount.point, mount.kind) == (mounted, "tmpfs")
    assert "size=64k" in mount.options
    around = find_mount(mounted.parent, read_mountinfo())
    assert around is not None
    assert around.point != mounted
