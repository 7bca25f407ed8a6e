"""What file system lies under a path: a disk of this machine, or a share, and what locks do there.

Read from the kernel's own list of mounts (``man 5 proc_pid_mountinfo``).
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

#: What several machines may have mounted at once. A type that is not listed counts as a disk of
#: this machine, as do the layers that containers and users put over one (overlay, fuse.bindfs).
_NFS = frozenset({"nfs", "nfs4"})
_SMB = frozenset({"cifs", "smb3", "smbfs"})
_LUSTRE = frozenset({"lustre", "lustre_lite"})
#: Their clients keep ``flock`` to themselves, or do not have it.
_LOCKLESS = frozenset(
    {
        "9p", "fuse.sshfs", "fuse.s3fs", "fuse.goofys", "fuse.mount-s3", "fuse.gcsfuse",
        "fuse.blobfuse", "fuse.blobfuse2", "fuse.rclone", "fuse.davfs", "fuse.curlftpfs",
    }
)  # fmt: skip
#: Whether theirs reach other machines is set on servers, where this machine cannot look: BeeGFS's
#: ``tuneUseGlobalFileLocks`` is off by default.
_UNCLEAR = frozenset(
    {
        "gpfs", "beegfs", "fhgfs", "ceph", "fuse.ceph", "fuse.ceph-fuse", "glusterfs",
        "fuse.glusterfs", "fuse.juicefs", "fuse.mfs", "fuse.dfuse", "panfs", "wekafs", "pvfs2",
        "afs", "coda", "gfs2", "ocfs2", "cvfs",
    }
)  # fmt: skip
_NETWORK = _NFS | _SMB | _LUSTRE | _LOCKLESS | _UNCLEAR

#: Since Linux 2.6.12 NFS sends ``flock`` to the server, unless told to keep it (``man 5 nfs``).
_NFS_KEEPS_LOCKS = frozenset({"nolock", "local_lock=flock", "local_lock=all"})

_ESCAPE = re.compile(r"\\([0-7]{3})")


class Locks(StrEnum):
    """Whether a ``flock`` that one machine holds keeps out another that sees the file."""

    HOLD = "hold"
    LOCAL = "local"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Mount:
    """A file system at its place.

    Attributes:
        point: Where it is mounted.
        root: What of it is seen there; of control groups, the group.
        kind: ``ext4``, ``nfs4``.
        options: Of the mount, and of the file system itself.
    """

    point: Path
    root: str
    kind: str
    options: frozenset[str]

    def __str__(self) -> str:
        return f"{self.kind} (mounted at {self.point})"

    @property
    def is_network(self) -> bool:
        """Whether other machines may see the same files."""
        return self.kind in _NETWORK

    @property
    def locks(self) -> Locks:
        """What ``flock`` does among the machines that see the files."""
        if self.kind in _UNCLEAR:
            return Locks.UNKNOWN
        keeps_locks = (
            (self.kind in _NFS and bool(_NFS_KEEPS_LOCKS & self.options))
            or (self.kind in _SMB and "nobrl" in self.options)
            or (self.kind in _LUSTRE and "flock" not in self.options)
            or self.kind in _LOCKLESS
        )
        return Locks.LOCAL if keeps_locks else Locks.HOLD


def read_mountinfo(root: Path = Path("/")) -> str:
    """The kernel's list of what this process has mounted; empty on a system that has none.

    Args:
        root: Where ``proc`` is.
    """
    path = root / "proc/self/mountinfo"
    if not path.exists():
        return ""
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def parse_mounts(mountinfo: str) -> list[Mount]:
    """What is mounted, later mounts last."""
    mounts = []
    for line in mountinfo.splitlines():
        ours, _, theirs = line.partition(" - ")
        _, _, _, root, point, options = map(_unescape, ours.split(" ")[:6])
        kind, _, inner = theirs.split(" ", 2)
        both = frozenset([*options.split(","), *inner.split(",")])
        mounts.append(Mount(Path(point), root, kind, both))
    return mounts


def find_mount(path: Path, mountinfo: str) -> Mount | None:
    """What a path lies on; None where the kernel does not tell.

    Args:
        path: Of a file or folder that need not exist yet.
        mountinfo: As :func:`read_mountinfo` has it.
    """
    place = path.resolve()
    around = [mount for mount in parse_mounts(mountinfo) if place.is_relative_to(mount.point)]
    # Of two at one point the later hides the earlier.
    return max(reversed(around), key=lambda mount: len(mount.point.parts), default=None)


def _unescape(word: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), word)
