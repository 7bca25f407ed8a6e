"""Losses by hand, and beside those of torch."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import functional as F

from sweeper.config.settings import TrainConfig
from sweeper.data.batches import ResidentSplit
from sweeper.data.dataset import TrialData
from sweeper.data.targets import count_rows
from sweeper.errors import TrainingError
from sweeper.training.losses import Loss, build_loss
from sweeper.trial import DataInfo, Task

CPU = torch.device("cpu")
CLASSES = torch.tensor([0, 0, 0, 1, 2, 2])
LABELS = torch.tensor([[1, 0], [1, 0], [1, 1], [0, 0], [1, 0], [0, 1]], dtype=torch.bool)
NUMBERS = torch.tensor([[10.0], [20.0], [30.0], [40.0], [50.0], [60.0]])
TARGETS: dict[Task, Tensor] = {
    "classification": CLASSES,
    "multilabel": LABELS,
    "regression": NUMBERS,
}
OUTPUTS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [3.0, 1.0, -1.0]]).repeat(2, 1)


def data_of(task: Task) -> TrialData:
    targets = TARGETS[task]
    n_outputs = {"classification": 3, "multilabel": 2, "regression": 1}[task]
    mean, std = ((30.0,), (10.0,)) if task == "regression" else ((), ())
    info = DataInfo(
        "made", "0" * 16, (3,), n_outputs, 6, 6, task=task, target_mean=mean, target_std=std
    )
    split = ResidentSplit(torch.zeros(6, 3), targets, torch.arange(6), None)
    return TrialData(info, split, split, count_rows(targets, task, n_outputs))


def loss_of(task: Task, **settings: Any) -> Loss:
    return build_loss(TrainConfig(**settings), data_of(task), CPU)


def outputs_of(task: Task) -> Tensor:
    return OUTPUTS[:, : data_of(task).info.n_outputs]


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("classification", {}),
        ("classification", {"label_smoothing": 0.1}),
        ("classification", {"class_weights": "balanced"}),
        ("classification", {"loss": f"{__name__}:half"}),
        ("multilabel", {}),
        ("multilabel", {"label_smoothing": 0.1, "class_weights": "balanced"}),
        ("regression", {}),
        ("regression", {"loss": "mae"}),
        ("regression", {"loss": "huber"}),
    ],
)
def test_the_sum_over_samples_is_their_mean_times_their_number(
    task: Task, settings: dict[str, Any]
) -> None:
    loss, outputs = loss_of(task, **settings), outputs_of(task)
    mean = loss(outputs, TARGETS[task], "mean")
    assert mean.shape == ()
    torch.testing.assert_close(loss(outputs, TARGETS[task], "sum"), 6 * mean)


@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_the_loss_of_mixed_targets_is_the_mixture_of_both_losses(task: Task) -> None:
    loss = loss_of(task, label_smoothing=0.1, class_weights="balanced")
    outputs, targets = outputs_of(task), TARGETS[task]
    plain = F.one_hot(targets, 3) if task == "classification" else targets
    mixed = 0.7 * plain + 0.3 * plain.roll(1, 0)
    expected = 0.7 * loss(outputs, targets, "mean") + 0.3 * loss(
        outputs, targets.roll(1, 0), "mean"
    )
    torch.testing.assert_close(loss(outputs, mixed, "mean"), expected)


def half(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets) / 2


def test_the_losses_of_torch() -> None:
    outputs, scaled = OUTPUTS[:, :1], (NUMBERS - 30) / 10
    wanted = {
        "mse": F.mse_loss(outputs, scaled),
        "mae": F.l1_loss(outputs, scaled),
        "huber": F.huber_loss(outputs, scaled),
    }
    for name, value in wanted.items():
        found = loss_of("regression", loss=name)(outputs, NUMBERS, "mean")
        torch.testing.assert_close(found, value)
    smoothed = loss_of("classification", label_smoothing=0.2)(OUTPUTS, CLASSES, "mean")
    expected = F.cross_entropy(OUTPUTS, CLASSES, label_smoothing=0.2)
    torch.testing.assert_close(smoothed, expected)
    plain = loss_of("multilabel")(OUTPUTS[:, :2], LABELS, "mean")
    torch.testing.assert_close(
        plain, F.binary_cross_entropy_with_logits(OUTPUTS[:, :2], LABELS.float())
    )


def test_balanced_classes_weigh_as_in_scikit_learn() -> None:
    weights = torch.tensor(
        compute_class_weight("balanced", classes=np.arange(3), y=CLASSES.numpy()),
        dtype=torch.float32,
    )
    each = F.cross_entropy(OUTPUTS, CLASSES, reduction="none") * weights[CLASSES]
    found = loss_of("classification", class_weights="balanced")(OUTPUTS, CLASSES, "mean")
    torch.testing.assert_close(found, each.mean())


def test_of_a_balanced_label_presence_and_absence_weigh_alike() -> None:
    # Label 0: four rows have it and two do not; label 1: two and four.
    each = F.binary_cross_entropy_with_logits(OUTPUTS[:, :2], LABELS.float(), reduction="none")
    weights = torch.where(LABELS, torch.tensor([0.5, 2.0]), 1.0)
    found = loss_of("multilabel", class_weights="balanced")(OUTPUTS[:, :2], LABELS, "mean")
    torch.testing.assert_close(found, (each * weights).mean())


def pinball(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.maximum(0.9 * (targets - outputs), 0.1 * (outputs - targets)).mean()


def test_an_own_loss_of_a_regression_is_given_scaled_targets() -> None:
    found = loss_of("regression", loss=f"{__name__}:pinball")(OUTPUTS[:, :1], NUMBERS, "mean")
    torch.testing.assert_close(found, pinball(OUTPUTS[:, :1], (NUMBERS - 30) / 10))


def a_word(outputs: Tensor, targets: Tensor) -> str:
    return "low"


def one_each(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (
            "regression",
            {"loss": "cross_entropy"},
            "train.loss: cross_entropy is no loss of regression, which made is; take mse or mae "
            "or huber, or package.module:function",
        ),
        (
            "classification",
            {"loss": "mse"},
            "train.loss: mse is no loss of classification, which made is; take cross_entropy, or "
            "package.module:function",
        ),
        (
            "regression",
            {"label_smoothing": 0.1},
            "train.label_smoothing: regression does not look at it; leave it out",
        ),
        (
            "multilabel",
            {"loss": f"{__name__}:half", "class_weights": "balanced"},
            f"train.class_weights: the loss {__name__}:half does not look at it; leave it out",
        ),
        (
            "classification",
            {"loss": f"{__name__}:half", "mixup": 0.2},
            "train.mixup: it makes shares of classes and labels, and the loss "
            f"{__name__}:half takes whole ones; leave one out",
        ),
    ],
)
def test_what_does_not_fit_the_task_is_refused(
    task: Task, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainingError) as caught:
        loss_of(task, **settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(("name", "came"), [("a_word", "str"), ("one_each", r"\[6\]")])
def test_an_own_loss_is_one_number(name: str, came: str) -> None:
    loss = loss_of("classification", loss=f"{__name__}:{name}")
    with pytest.raises(TrainingError, match=f"{name} must return the mean .*, got {came}"):
        loss(OUTPUTS, CLASSES, "mean")


def fails(outputs: Tensor, targets: Tensor) -> Tensor:
    raise KeyError("cost")


def detached(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.detach(), targets)


@pytest.mark.parametrize(
    ("name", "fault"),
    [("fails", "raised KeyError: 'cost'"), ("detached", ".* without a gradient")],
)
def test_an_own_loss_that_cannot_be_trained_by_is_named(name: str, fault: str) -> None:
    loss = loss_of("classification", loss=f"{__name__}:{name}")
    with pytest.raises(TrainingError, match=f"^train.loss: {__name__}:{name} {fault}"):
        loss(OUTPUTS.clone().requires_grad_(), CLASSES, "mean")
