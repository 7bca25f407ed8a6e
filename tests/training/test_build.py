import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
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


@pytest.mark.parametrize(("n_rows", "updates"), [(12, 2), (13, 2), (14, 3)])
def test_a_schedule_counts_updates_not_batches(n_rows: int, updates: int) -> None:
    # Batches of two rows, three of them an update; a last batch of one row is dropped.
    learner = build("mlp", n_rows=n_rows, batch_size=2, epochs=1, accumulate=3, schedule="cosine")
    batch = torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)
    train_epoch(learner, [batch] * (n_rows // 2))
    last = (1 + math.cos(math.pi * (updates - 1) / updates)) / 2
    assert learner.learning_rate == pytest.approx(1e-3 * last, rel=1e-9)


@pytest.mark.parametrize("freeze", ["none", "backbone"])
def test_a_learner_begins_with_the_weights_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, freeze: str
) -> None:
    name = "shufflenet_v2_x0_5"
    torch.manual_seed(1)
    others = models.get_model(name).state_dict()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = (
        tmp_path / "hub/checkpoints" / models.get_model_weights(name)["DEFAULT"].url.split("/")[-1]
    )
    path.parent.mkdir(parents=True)
    torch.save(others, path)
    learner = build(name, params={"weights": "DEFAULT", "freeze": freeze}, optimizer="sgd")
    kept = {key: value for key, value in others.items() if not key.startswith("fc.")}

    def is_kept() -> list[bool]:
        state = learner.weights()
        return [torch.equal(value, state[f"net.{key}"]) for key, value in kept.items()]

    assert all(is_kept())
    train_epoch(learner, [(torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 3]))])
    assert all(is_kept()) == (freeze == "backbone")
