"""Which trials have one program."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from sweeper.config.settings import DataConfig, ModelConfig, TrainConfig, TrialConfig
from sweeper.training.learner import Runtime
from sweeper.training.packed.signature import eager_reason, signature
from sweeper.trial import DataInfo, Features

CPU = Runtime(torch.device("cpu"))
INFO = DataInfo("made", "0" * 16, (6,), 3, 90, 10, features=Features(2, (3, 5)))


def trial(
    model: dict[str, Any] | None = None,
    *,
    architecture: str = "mlp",
    batch_size: int = 64,
    **settings: Any,
) -> TrialConfig:
    return TrialConfig(
        params={},
        data=DataConfig(name="made", batch_size=batch_size),
        model=ModelConfig(architecture=architecture, params=model or {}),
        train=TrainConfig(**settings),
        seed=0,
    )


BASE = trial(optimizer="sgd")


@pytest.mark.parametrize(
    "other",
    [
        trial({"activation": "tanh", "width": 128}, optimizer="sgd"),
        trial(optimizer="sgd", learning_rate=0.5, schedule="cosine", warmup_epochs=1, epochs=3),
        trial(optimizer="sgd", momentum=0.5, l1=0.1, l2=0.2, clip_grad_norm=1.0, accumulate=4),
        trial(optimizer="sgd", label_smoothing=0.1, class_weights="balanced", patience=3),
        trial(optimizer="sgd", random_flip=True),
        replace(BASE, seed=7),
    ],
)
def test_numbers_do_not_make_another_program(other: TrialConfig) -> None:
    assert signature(other, INFO, CPU) == signature(BASE, INFO, CPU)
    assert hash(signature(other, INFO, CPU)) == hash(signature(BASE, INFO, CPU))


@pytest.mark.parametrize(
    "other",
    [
        trial({"width": 64}, optimizer="sgd"),
        trial({"dropout": 0.1}, optimizer="sgd"),
        trial({"batch_norm": True}, optimizer="sgd"),
        trial({"embed_numbers": "periodic"}, optimizer="sgd"),
        trial(architecture="mine:build", optimizer="sgd"),
        trial(batch_size=32, optimizer="sgd"),
        trial(optimizer="adam"),
        trial(optimizer="sgd", momentum=0.0),
        trial(optimizer="sgd", nesterov=True),
        trial(optimizer="sgd", ema=0.9),
        trial(optimizer="sgd", mixup=0.2),
    ],
)
def test_shapes_and_calls_do(other: TrialConfig) -> None:
    assert signature(other, INFO, CPU) != signature(BASE, INFO, CPU)


def test_other_rows_and_precisions_do() -> None:
    base = signature(BASE, INFO, CPU)
    assert signature(BASE, replace(INFO, fingerprint="1" * 16), CPU) != base
    assert signature(BASE, INFO, Runtime(torch.device("cpu"), "bf16")) != base


def test_shares_of_dropout_may_be_others() -> None:
    first, second = trial({"dropout": 0.1}), trial({"dropout": 0.9})
    assert signature(first, INFO, CPU) == signature(second, INFO, CPU)


def test_an_own_model_has_arguments_that_nobody_knows() -> None:
    first, second = (
        trial({"activation": name, "sizes": [3, 4]}, architecture="mine:build")
        for name in ("relu", "tanh")
    )
    assert signature(first, INFO, CPU) != signature(second, INFO, CPU)
    assert hash(signature(first, INFO, CPU)) == hash(signature(first, INFO, CPU))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (BASE, None),
        (trial(schedule="mine:rate"), None),
        (trial(architecture="mine:build"), None),
        (
            trial(optimizer="torch.optim:Adagrad"),
            "train.optimizer: torch.optim:Adagrad is not among those that are computed for "
            "several trials",
        ),
        (
            trial(loss="mine:loss"),
            "train.loss: mine:loss is not among those that are computed for several trials",
        ),
        (
            trial(architecture="resnet18"),
            "model.architecture: resnet18 of torchvision is too large to gain by it",
        ),
    ],
)
def test_what_is_trained_by_itself_is_named(config: TrialConfig, reason: str | None) -> None:
    assert eager_reason(config) == reason
