"""Digests that are equal for equal data on any machine; and what tells that files are others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def content_digest(*contents: Tensor | NDArray[Any]) -> str:
    """SHA-256 in hex over dtype, shape and values of contiguous CPU tensors, in their order.

    An array counts as the tensor that would share its memory, so that it needs no torch.
    """
    digest = hashlib.sha256()
    for content in contents:
        dtype, values = _dtype_and_bytes(content)
        digest.update(f"{dtype} {tuple(content.shape)}".encode())
        digest.update(values.data)
    return digest.hexdigest()


def _dtype_and_bytes(content: Tensor | NDArray[Any]) -> tuple[str, NDArray[np.uint8]]:
    import numpy as np

    if isinstance(content, np.ndarray):
        return f"torch.{content.dtype}", content.reshape(-1).view(np.uint8)
    import torch

    return str(content.dtype), content.reshape(-1).view(torch.uint8).numpy()


def split_fingerprint(digest: str, train: Tensor, validation: Tensor) -> str:
    """16 hex digits over a content digest and the rows of both splits, each int64 [N]."""
    rows = content_digest(train, validation)
    return hashlib.sha256(f"{digest} {rows}".encode()).hexdigest()[:16]


def file_identity(paths: Sequence[Path | str]) -> list[tuple[str, int, int]]:
    """Path, size in bytes and time of change in ns of each file, of which none is read.

    Replaced files differ. One that is not there has the size -1.
    """
    return [(str(path), *_size_and_time(path)) for path in paths]


def _size_and_time(path: Path | str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except (OSError, ValueError):  # the latter of a name that no file can have
        return -1, 0
    return stat.st_size, stat.st_mtime_ns
