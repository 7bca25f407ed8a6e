"""A trained network between what a logged model takes and what it answers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sweeper.config.settings import ModelConfig
from sweeper.models.build import build_for, torch_dtype
from sweeper.tracking.served import Served
from sweeper.tracking.served_kinds import Normalize
from sweeper.trial import DataInfo


class Rescale(nn.Module):
    """Give outputs in the units of the targets, so that a logged model predicts them.

    Args:
        mean: Of each target.
        std: As ``mean``, > 0.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64))

    def forward(self, outputs: Tensor) -> Tensor:
        """Map float32 [B, n_outputs] of mean 0 and deviation 1 to float64 in other units."""
        return outputs * self.get_buffer("std") + self.get_buffer("mean")


def build_trained(
    model: ModelConfig, data: DataInfo, state: Mapping[str, Any], served: Served | None
) -> nn.Module:
    """The trained model in eval mode, between raw inputs and targets as the data have them.

    Raises:
        TrainingError: If the architecture cannot be built.
        RuntimeError: If the weights do not fit it.
    """
    net = build_for(model, data)
    net.to(memory_format=torch.contiguous_format)  # in channels_last a pt2 file warns of strides
    net.load_state_dict(state)
    if served:
        net = nn.Sequential(served.module(), net)
    elif data.mean and not data.frames:
        net = nn.Sequential(Normalize(data.mean, data.std), net)
    if data.target_mean:
        net = nn.Sequential(net, Rescale(data.target_mean, data.target_std))
    return net.eval()


def probe_of(data: DataInfo) -> Tensor:
    """Three samples as the network takes them."""
    random = torch.rand(3, *data.input_shape, generator=torch.Generator().manual_seed(0))
    if data.features is not None:
        sizes = torch.tensor(data.features.categories)
        categories = random[:, data.features.n_numbers :]
        categories.copy_((categories * sizes).floor())
    dtype = torch_dtype(data.input_dtype)
    # Whole numbers are 0 and 1, which any embedding knows.
    return random if dtype.is_floating_point else random.round().to(dtype)


def form_of(model: ModelConfig, data: DataInfo, served: Served | None) -> str:
    """Equal for all that :func:`build_trained` builds alike, up to tensors of the state_dict."""
    params = sorted(model.params.items())
    kinds = (data.features, data.tokens, data.frames)
    form = (data.input_shape, data.input_dtype, data.n_outputs, *kinds)
    ends = (len(data.mean), len(data.target_mean))
    return repr((model.architecture, params, form, ends, served and served.form()))
