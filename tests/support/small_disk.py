"""A disk that is soon full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A tmpfs of that size at that folder; skips the test where none can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "sweeper-test", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as exc:
        pytest.skip(f"needs a tmpfs, and there is no mount: {exc}")
    if done.returncode:
        pytest.skip(f"needs a tmpfs, and mount refuses it: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
