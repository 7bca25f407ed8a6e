import pytest
import torch

from sweeper.errors import TrainingError
from sweeper.models.transformer import PositionForm, Positions, build_transformer
from sweeper.training.optim import split_parameters
from sweeper.trial import DataInfo, Tokens

TEXT = DataInfo("t", "0" * 16, (6,), 3, 9, 3, input_dtype="int64", tokens=Tokens(10))


def test_sines_and_cosines_tell_the_place() -> None:
    waves = Positions(3, 4, "sinusoidal")(torch.zeros(1, 2, 4))[0]
    wanted = torch.tensor([[0.0, 1.0, 0.0, 1.0], [0.841471, 0.540302, 0.0099998, 0.99995]])
    torch.testing.assert_close(waves, wanted, rtol=0, atol=1e-5)
    assert list(Positions(3, 4, "sinusoidal").parameters()) == []
    assert Positions(3, 5, "sinusoidal")(torch.zeros(1, 3, 5)).shape == (1, 3, 5)


def test_words_are_penalised_and_their_places_are_not() -> None:
    net = build_transformer(TEXT, 3, width=8, heads=2)
    weights, others = split_parameters(net)
    assert net.get_parameter("first.words.weight") in set(weights)
    assert net.get_parameter("positions.places") in set(others)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_the_order_of_words_matters(positions: PositionForm) -> None:
    torch.manual_seed(0)
    net = build_transformer(TEXT, 3, width=8, positions=positions).eval()
    with torch.no_grad():
        first, second = net(torch.tensor([[2, 3, 4], [4, 3, 2]]))
    assert not torch.allclose(first, second, atol=1e-4)


def test_heads_share_the_width() -> None:
    with pytest.raises(TrainingError) as caught:
        build_transformer(TEXT, 3, width=10, heads=4)
    assert str(caught.value) == (
        "model.heads: each of them takes the same share of the width, and 10 is no multiple of 4; "
        "change model.width or model.heads"
    )
