import copy
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import models

from sweeper.config.settings import DataConfig, ModelConfig, TrainConfig, TrialConfig
from sweeper.data.batches import ResidentSplit
from sweeper.data.dataset import TrialData
from sweeper.errors import TrainingError
from sweeper.training.build import build_learner
from sweeper.training.eager import EagerLearner
from sweeper.training.learner import Runtime, train_epoch
from sweeper.trial import DataInfo

CPU = torch.device("cpu")
USER_CODE = """
import torch

def build(input_shape, n_outputs):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
"""


def build(
    architecture: str,
    *,
    params: dict[str, Any] | None = None,
    batch_size: int = 32,
    n_rows: int = 300,
    **settings: Any,
) -> EagerLearner:
    inputs, targets = torch.zeros(n_rows, 1, 8, 8), torch.zeros(n_rows, dtype=torch.int64)
    split = ResidentSplit(inputs, targets, torch.arange(n_rows), None)
    info = DataInfo("blank", "0" * 16, (1, 8, 8), 10, n_train=n_rows, n_validation=n_rows)
    config = TrialConfig(
        params={},
        data=DataConfig(name="blank", batch_size=batch_size),
        model=ModelConfig(architecture=architecture, params=params or {}),
        train=TrainConfig(**settings),
        seed=5,
    )
    return build_learner(config, TrialData(info, split, split), Runtime(CPU))


def learning_rates(learner: EagerLearner, n_updates: int) -> list[float]:
    batch = torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)
    rates = []
    for _ in range(n_updates):
        train_epoch(learner, [batch])
        rates.append(learner.learning_rate)
    return rates


def test_a_model_that_does_not_fit_the_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "users_code_of_test_build"
    (tmp_path / f"{name}.py").write_text(USER_CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(TrainingError, match="8 x 8 allows a depth of at most 3, got depth=4"):
        build("cnn", params={"depth": 4})
    with pytest.raises(TrainingError, match=r"outputs .* here \[2, 10\], got \[2, 3\]"):
        build(f"{name}:build")


def test_a_ramp_as_long_as_the_training_is_refused() -> None:
    with pytest.raises(TrainingError, match="train.warmup_epochs: must be < train.epochs=3, got"):
        build("mlp", epochs=3, warmup_epochs=3)


@pytest.mark.parametrize(
    ("n_rows", "updates"),
    [(4, 2), (3, 1), (1, 1)],  # a last batch of one row is dropped if others came before it
)
def test_a_schedule_counts_the_updates_that_an_epoch_has(n_rows: int, updates: int) -> None:
    learner = build("mlp", n_rows=n_rows, batch_size=2, epochs=2, schedule="step", step_epochs=1)
    expected = [1e-3] * updates + [1e-4] * updates
    assert learning_rates(learner, 2 * updates) == pytest.approx(expected, rel=1e-9)


def test_settings_reach_the_model_and_the_schedule() -> None:
    learner = build("mlp", params={"width": 3, "depth": 1}, epochs=4, warmup_epochs=0.2)
    assert [tuple(weight.shape) for weight in learner.model.parameters()][0] == (3, 64)
    # 10 updates an epoch, so the ramp is 2 long.
    expected = [1e-3 / 3, 2e-3 / 3, 1e-3]
    assert learning_rates(learner, 3) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("optimizer", "given"),
    [
        ("sgd", {"momentum": 0.8, "nesterov": True}),
        ("torch.optim:SGD", {}),  # to one of the user's own neither is given
    ],
)
def test_settings_reach_the_optimiser(optimizer: str, given: dict[str, Any]) -> None:
    learner = build("mlp", optimizer=optimizer, l2=0.1, learning_rate=0.05, **given)
    twin = copy.deepcopy(learner.model)
    groups = [
        {"params": [p for p in twin.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in twin.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    reference = torch.optim.SGD(groups, lr=0.05, **given)
    batch = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])
    for _ in range(3):
        train_epoch(learner, [batch])
        reference.zero_grad()
        F.cross_entropy(twin(batch[0]), batch[1]).backward()
        reference.step()
    torch.testing.assert_close(learner.weights(), dict(twin.state_dict()))


@pytest.mark.parametrize(("n_rows", "updates"), [(12, 2), (13, 2), (14, 3)])
def test_a_schedule_counts_updates_not_batches(n_rows: int, updates: int) -> None:
    # Batches of two rows, three of them an update; a last batch of one row is dropped.
    learner = build("mlp", n_rows=n_rows, batch_size=2, epochs=1, accumulate=3, schedule="cosine")
    batch = torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)
    train_epoch(learner, [batch] * (n_rows // 2))
    last = (1 + math.cos(math.pi * (updates - 1) / updates)) / 2
    assert learner.learning_rate == pytest.approx(1e-3 * last, rel=1e-9)


PRETRAINED = "shufflenet_v2_x0_5"


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Weights of others, where torch looks for them."""
    torch.manual_seed(1)
    weights: dict[str, Tensor] = models.get_model(PRETRAINED).state_dict()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = models.get_model_weights(PRETRAINED)["DEFAULT"].url
    path = tmp_path / "hub/checkpoints" / url.split("/")[-1]
    path.parent.mkdir(parents=True)
    torch.save(weights, path)
    return weights


@pytest.mark.parametrize("freeze", ["none", "backbone"])
def test_a_learner_begins_with_the_weights_of_others(
    others: dict[str, Tensor], freeze: str
) -> None:
    learner = build(PRETRAINED, params={"weights": "DEFAULT", "freeze": freeze}, optimizer="sgd")
    kept = {key: value for key, value in others.items() if not key.startswith("fc.")}

    def is_kept() -> list[bool]:
        state = learner.weights()
        return [torch.equal(value, state[f"net.{key}"]) for key, value in kept.items()]

    assert all(is_kept())
    train_epoch(learner, [(torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 3]))])
    assert all(is_kept()) == (freeze == "backbone")


def test_all_but_the_last_layer_learn_at_the_rate_of_the_backbone(
    others: dict[str, Tensor],
) -> None:
    batch = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])

    def moves(rate: float) -> dict[str, Tensor]:
        torch.manual_seed(2)
        settings: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 1.0}
        learner = build(PRETRAINED, params={"weights": "DEFAULT"}, backbone_rate=rate, **settings)
        before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
        train_epoch(learner, [batch])
        return {name: p.detach() - before[name] for name, p in learner.model.named_parameters()}

    whole = moves(1.0)
    for name, move in moves(0.25).items():
        share = 1.0 if ".fc." in name else 0.25
        assert move.norm().item() == pytest.approx(share * whole[name].norm().item(), rel=1e-2)
