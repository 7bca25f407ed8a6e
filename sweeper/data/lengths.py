"""How long each sample is, where a batch may be shorter than the longest of all."""

import torch
from torch import Tensor

#: Values that are looked at together, so that what is compared needs little memory.
_BLOCK_VALUES = 2**24


def token_lengths(ids: Tensor) -> Tensor:
    """Ids before the padding, which is 0: [N, L] -> int64 [N]."""
    return torch.cat([(part != 0).sum(1) for part in _blocks(ids)])


def frame_lengths(frames: Tensor) -> Tensor:
    """Points in time up to the last at which something is not 0: [N, M, T] -> int64 [N]."""
    times = torch.arange(1, frames.shape[2] + 1, device=frames.device)
    return torch.cat([((part != 0).any(1) * times).amax(1) for part in _blocks(frames)])


def _blocks(samples: Tensor) -> tuple[Tensor, ...]:
    return torch.split(samples, rows_at_once(samples))


def rows_at_once(samples: Tensor) -> int:
    """Rows of samples [N, ...] that are looked at together, however large each is."""
    return max(_BLOCK_VALUES // samples[0].numel(), 1)
