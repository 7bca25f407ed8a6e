"""A residual network for small pictures, such as those of CIFAR-10."""

from torch import Tensor, nn
from torch.nn import functional as F

from sweeper.models.dropout import Dropout

_N_STAGES = 3


def build_resnet(
    input_shape: tuple[int, ...],
    n_outputs: int,
    *,
    depth: int = 1,
    width: int = 16,
    dropout: float = 0.0,
) -> nn.Module:
    """A convolution, three stages of ``depth`` residual blocks, the mean, one linear layer.

    The second and the third stage halve H and W and double the channels. With a convolution
    wherever the shape changes that makes ``6 * depth + 2`` layers: ResNet-8, 14, 20.

    Args:
        input_shape: Of one sample, [C, H, W].
        n_outputs: Outputs per sample, >= 1.
        depth: Residual blocks of a stage, >= 1.
        width: Channels of the first stage, >= 1.
        dropout: Share of the inputs of the linear layer dropped while training, in [0, 1).

    Returns:
        A module float32 [B, C, H, W] -> outputs float32 [B, n_outputs].

    Source: He et al. 2016 (Deep residual learning), section 4.2, with projections (option B).
    """
    n_channels, _, _ = input_shape
    layers: list[nn.Module] = [
        nn.Conv2d(n_channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    n_maps = width
    for stage in range(_N_STAGES):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            layers.append(ResidualBlock(n_maps, width * 2**stage, stride))
            n_maps = width * 2**stage
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if dropout > 0:
        layers.append(Dropout(dropout))
    layers.append(nn.Linear(n_maps, n_outputs))
    net = nn.Sequential(*layers)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to what came in.

    Args:
        n_inputs: Channels that come in.
        n_outputs: Channels that go out.
        stride: Of the first convolution: 2 halves H and W, rounded up.
    """

    def __init__(self, n_inputs: int, n_outputs: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(n_inputs, n_outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_outputs),
            nn.ReLU(),
            nn.Conv2d(n_outputs, n_outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if n_inputs != n_outputs or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_inputs, n_outputs, 1, stride, bias=False), nn.BatchNorm2d(n_outputs)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [B, n_inputs, H, W] -> [B, n_outputs, H / stride, W / stride]."""
        return F.relu(self.convolutions(inputs) + self.shortcut(inputs))
