"""In what order things are forced to disk, and renamed."""

import os
from pathlib import Path

import pytest


def note_disk_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """What is done from now on: ``fsync`` or ``rename``, and the file that it is done to."""
    done: list[tuple[str, Path]] = []
    fsync, rename = os.fsync, os.replace

    def noted_fsync(fd: int) -> None:
        fsync(fd)
        done.append(("fsync", Path(f"/proc/self/fd/{fd}").readlink()))

    def noted_rename(source: Path, target: Path) -> None:
        rename(source, target)
        done.append(("rename", Path(target)))

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_rename)
    return done
