"""A check of the storage itself: trials that run without anybody running them."""

from collections.abc import Iterator

from sweeper.commands.doctor.finding import Finding
from sweeper.commands.doctor.snapshot import Snapshot
from sweeper.study.recovery import SILENT, find_orphans, reclaim_orphans


def check_orphans(snapshot: Snapshot) -> Iterator[Finding]:
    """RUNNING trials without a living worker, as its lock or its agent's lease tells."""
    study = snapshot.study

    def mend() -> None:
        reclaim_orphans(study, SILENT)
        snapshot.look_again()

    for orphan in find_orphans(study):
        if orphan.look() is None:
            continue
        yield Finding(
            f"trial {orphan.number}",
            "RUNNING in the storage, but its worker is gone",
            "puts it back to waiting, or ends it as its event log says",
            mend,
        )
