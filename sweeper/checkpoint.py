"""One file from which a trial goes on after its process died."""

import io
import os
from pathlib import Path
from typing import Any

import torch

from sweeper.errors import TrainingError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` so that ``path`` holds the old state or the new one, never a part.

    It is written aside, forced to disk and renamed.

    Args:
        path: Its folder is made if need be.
        state: Tensors, numbers, strings, and lists, tuples and dicts of them.

    Raises:
        TrainingError: If the disk does not take it; what was there before stays.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    aside = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as exc:
        raise TrainingError(
            f"{path}: the checkpoint of {buffer.getbuffer().nbytes:,} bytes cannot be written: "
            f"{exc.strerror}; make room or move the studies elsewhere"
        ) from exc


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """What :func:`save_checkpoint` wrote, tensors on the CPU; None if there is no such file.

    Nothing in the file can run code.

    Raises:
        TrainingError: If the file cannot be read. A crash cannot tear it, so something else has.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as exc:  # what a foreign file makes torch raise has no limit
        raise TrainingError(
            f"{path}: the checkpoint cannot be read ({type(exc).__name__}: {exc}); "
            "delete the file to start this trial over"
        ) from exc
    return state
