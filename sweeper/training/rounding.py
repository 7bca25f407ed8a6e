"""What rounding alone makes of a trial."""

import torch

from sweeper.config.settings import TrialConfig
from sweeper.data.dataset import TrialData
from sweeper.training.build import build_learner
from sweeper.training.learner import Learner, Runtime


@torch.no_grad()
def build_rounded_otherwise(
    config: TrialConfig, data: TrialData, runtime: Runtime, *, is_resumed: bool = False
) -> Learner:
    """As :func:`~sweeper.training.build.build_learner`, but for the last bit of the weights.

    Each is larger or smaller by its rounding error, as chance has it. What the trial comes to then
    differs by as much as it would if it was computed in another order.
    """
    learner = build_learner(config, data, runtime, is_resumed=is_resumed)
    generator = torch.Generator().manual_seed(0)
    for weights in learner.parameters:
        signs = torch.randint(2, weights.shape, generator=generator).mul_(2).sub_(1)
        weights.mul_(1 + torch.finfo(weights.dtype).eps * signs.to(weights))
    return learner
