"""Digests that are equal for equal data on any machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
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
    if isinstance(content, np.ndarray):
        return f"torch.{content.dtype}", content.reshape(-1).view(np.uint8)
    import torch

    return str(content.dtype), content.reshape(-1).view(torch.uint8).numpy()


def split_fingerprint(digest: str, train: Tensor, validation: Tensor) -> str:
    """16 hex digits over a content digest and the rows of both splits, each int64 [N]."""
    return hashlib.sha256(f"{digest} {content_digest(train, validation)}".encode()).hexdigest()[
        :16
    ]
