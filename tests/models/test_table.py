"""Rows of a table as features, and the models that take them."""

import pytest
import torch
from torch import nn

from sweeper.config.settings import ModelConfig
from sweeper.errors import TrainingError
from sweeper.models.build import build_for, check_model
from sweeper.models.table import PeriodicNumbers, TableFeatures
from sweeper.training.optim import split_parameters
from sweeper.trial import DataInfo, Features

FEATURES = Features(n_numbers=2, categories=(3, 5))
TABLE = DataInfo("table", "0" * 16, (4,), 2, 90, 10, features=FEATURES)
ROWS = torch.tensor([[0.5, -1.0, 1, 4], [0.0, 2.0, 0, 0], [0.5, -1.0, 2, 4]])


def test_numbers_stay_and_each_category_has_features_of_its_own() -> None:
    embed = TableFeatures(FEATURES, "none")
    features = embed(ROWS)
    assert features.shape == (3, embed.n_features) == (3, 2 + 8 + 8)
    assert torch.equal(features[:, :2], ROWS[:, :2])
    table = embed.categories.weight
    assert torch.equal(features[0, 2:], torch.cat([table[1], table[3 + 4]]))
    assert torch.equal(features[0, 10:], features[2, 10:])
    assert not torch.equal(features[0, 2:10], features[2, 2:10])


def test_what_no_training_row_has_says_nothing_at_first() -> None:
    assert torch.equal(TableFeatures(FEATURES, "none")(ROWS)[1, 2:], torch.zeros(16))


def test_periodic_numbers_are_waves_of_each_number_through_one_layer() -> None:
    torch.manual_seed(0)
    embed = PeriodicNumbers(2)
    found = embed(ROWS[:, :2])
    assert found.shape == (3, 16)
    frequencies = embed.frequencies[16:]
    angles = 2 * torch.pi * ROWS[1, 1] * frequencies
    expected = torch.relu(embed.linear(torch.cat([angles.sin(), angles.cos()])))
    torch.testing.assert_close(found[1, 8:], expected)
    assert torch.equal(found[0], found[2])


def test_decay_is_for_weights_and_categories_not_for_frequencies() -> None:
    embed = TableFeatures(FEATURES, "periodic")
    weights, others = split_parameters(embed)
    assert any(weight is embed.categories.weight for weight in weights)
    assert any(other is embed.numbers.frequencies for other in others)


@pytest.mark.parametrize("numbers", ["none", "periodic"])
@pytest.mark.parametrize("features", [FEATURES, Features(4, ()), Features(0, (3, 3, 3, 3))])
def test_an_mlp_takes_rows_of_any_kind(numbers: str, features: Features) -> None:
    info = DataInfo("table", "0" * 16, (4,), 2, 90, 10, features=features)
    model = ModelConfig(architecture="mlp", params={"depth": 1, "embed_numbers": numbers})
    net = build_for(model, info)
    check_model(net, (4,), 2)
    rows = torch.tensor([[1.0, 2, 1, 0], [0, 1, 2, 2]])
    net(rows).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    with torch.device("meta"):  # as check counts weights
        assert sum(p.numel() for p in build_for(model, info).parameters()) == sum(
            p.numel() for p in net.parameters()
        )


def build_own(input_shape: tuple[int, ...], n_outputs: int, *, embed_numbers: int) -> nn.Module:
    return nn.Linear(input_shape[0] * embed_numbers, n_outputs)


def test_a_builder_of_the_users_own_is_asked_for_a_network_of_the_features() -> None:
    model = ModelConfig(architecture=f"{__name__}:build_own", params={"embed_numbers": 1})
    check_model(build_for(model, TABLE), (4,), 2)


def test_numbers_of_what_is_no_table_cannot_be_embedded() -> None:
    images = DataInfo("digits", "0" * 16, (1, 8, 8), 10, 90, 10)
    model = ModelConfig(architecture="mlp", params={"embed_numbers": "periodic"})
    with pytest.raises(TrainingError) as caught:
        build_for(model, images)
    assert str(caught.value) == (
        "model.embed_numbers: periodic is for tables, and digits is none; leave it out"
    )
    plain = ModelConfig(architecture="mlp", params={"embed_numbers": "none"})
    check_model(build_for(plain, images), (1, 8, 8), 10)
