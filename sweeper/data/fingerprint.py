"""Digests that are equal for equal data on any machine."""

import hashlib

import torch
from torch import Tensor


def content_digest(*tensors: Tensor) -> str:
    """SHA-256 in hex over dtype, shape and values of contiguous CPU tensors, in their order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def split_fingerprint(digest: str, train: Tensor, validation: Tensor) -> str:
    """16 hex digits over a content digest and the rows of both splits, each int64 [N]."""
    return hashlib.sha256(f"{digest} {content_digest(train, validation)}".encode()).hexdigest()[
        :16
    ]
