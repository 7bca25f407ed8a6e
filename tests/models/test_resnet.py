import pytest
import torch
from torch import nn

from sweeper.models.build import check_model
from sweeper.models.resnet import ResidualBlock, build_resnet
from tests.support.models import n_parameters


@pytest.mark.parametrize(("depth", "n_layers"), [(1, 8), (2, 14), (3, 20)])
def test_a_resnet_has_six_layers_a_block_and_two(depth: int, n_layers: int) -> None:
    model = build_resnet((3, 32, 32), 10, depth=depth, width=4)
    kinds = (nn.Conv2d, nn.Linear)
    layers = [m for m in model.modules() if isinstance(m, kinds)]
    shortcuts = [m for m in layers if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert len(layers) - len(shortcuts) == n_layers
    assert len(shortcuts) == 2
    check_model(model, (3, 32, 32), 10)


def test_a_stage_doubles_the_channels_and_halves_the_picture() -> None:
    model = build_resnet((3, 32, 30), 10, depth=1, width=4)
    shapes = []
    for layer in model.children():
        if isinstance(layer, ResidualBlock):
            layer.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    model(torch.zeros(2, 3, 32, 30))
    assert shapes == [(4, 32, 30), (8, 16, 15), (16, 8, 8)]
    blocks = 2 * (9 * 4 * 4 + 8) + (9 * 4 * 8 + 9 * 8 * 8 + 4 * 8 + 48)
    blocks += 9 * 8 * 16 + 9 * 16 * 16 + 8 * 16 + 96
    assert n_parameters(model) == (9 * 3 * 4 + 8) + blocks + (16 * 10 + 10)


def test_a_block_adds_what_came_in() -> None:
    block = ResidualBlock(3, 3, 1).eval()
    inputs = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(block(inputs), (block.convolutions(inputs) + inputs).relu())
    assert not torch.equal(block(inputs), block.convolutions(inputs).relu())


def test_the_linear_layer_alone_has_dropout() -> None:
    layers = [type(layer).__name__ for layer in build_resnet((1, 8, 8), 2, dropout=0.1).children()]
    assert layers[-3:] == ["Flatten", "Dropout", "Linear"]
    assert "Dropout" not in layers[:-3]


def test_even_a_picture_of_one_pixel_fits() -> None:
    check_model(build_resnet((1, 1, 1), 2, width=2), (1, 1, 1), 2)
