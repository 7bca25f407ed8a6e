"""How long each sample is, where a batch may be shorter than the longest of all."""

import torch
from torch import Tensor

#: Rows that are looked at together, so that what is compared needs little memory.
_BLOCK_ROWS = 4096


def token_lengths(ids: Tensor) -> Tensor:
    """Ids before the padding, which is 0: [N, L] -> int64 [N]."""
    return torch.cat([(part != 0).sum(1) for part in torch.split(ids, _BLOCK_ROWS)])


def frame_lengths(frames: Tensor) -> Tensor:
    """Points in time up to the last at which something is not 0: [N, M, T] -> int64 [N]."""
    times = torch.arange(1, frames.shape[2] + 1, device=frames.device)
    parts = torch.split(frames, _BLOCK_ROWS)
    return torch.cat([((part != 0).any(1) * times).amax(1) for part in parts])
