"""Every task x loss x metric: a network learns by it, and all is measured that the task has."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sweeper.config.metrics import TASK_LOSSES, TASK_METRICS
from sweeper.config.settings import (
    DataConfig,
    ModelConfig,
    TrainConfig,
    TrialConfig,
)
from sweeper.data.batches import ResidentSplit
from sweeper.data.dataset import TrialData
from sweeper.data.order import Shuffle
from sweeper.data.targets import count_rows
from sweeper.errors import TrainingError
from sweeper.training.build import build_learner
from sweeper.training.eager import EagerLearner
from sweeper.training.learner import Runtime, train_epoch
from sweeper.trial import DataInfo, Task
from tests.support.models import evaluate

CPU = torch.device("cpu")
N_ROWS, N_FEATURES = 160, 6
#: Outputs that decide which metrics there are: `val_auroc` of two classes, `val_top5` of many.
N_OUTPUTS: Mapping[Task, tuple[int, ...]] = {
    "classification": (2, 3, 12),
    "multilabel": (1, 4),
    "regression": (1, 3),
}
OWN = f"{__name__}:own_loss"
SETTINGS: Mapping[Task, tuple[Mapping[str, Any], ...]] = {
    "classification": (
        {},
        {"label_smoothing": 0.1},
        {"class_weights": "balanced"},
        {"mixup": 0.4, "label_smoothing": 0.1, "class_weights": "balanced"},
    ),
    "multilabel": ({}, {"label_smoothing": 0.1, "class_weights": "balanced"}, {"mixup": 0.4}),
    "regression": ({}, {"mixup": 0.4}),
}
CASES = [
    pytest.param(task, n_outputs, {**settings, "loss": loss}, id=f"{task}-{n_outputs}-{loss}-{n}")
    for task, sizes in N_OUTPUTS.items()
    for n_outputs in sizes
    for loss in (None, *TASK_LOSSES[task], OWN)
    for n, settings in enumerate(SETTINGS[task])
    if loss != OWN or not settings  # which an own loss does not look at
]


def own_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """What the task's own first loss is, by hand."""
    if targets.dtype == torch.int64:
        return F.cross_entropy(outputs, targets)
    if targets.dtype == torch.bool:
        return F.binary_cross_entropy_with_logits(outputs, targets.float())
    return (outputs - targets).square().mean()


def own_metrics(outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
    """One more."""
    return {"val_rows": float(len(outputs) + 0 * len(targets))}


def data_of(task: Task, n_outputs: int) -> TrialData:
    """Targets that follow from the inputs by a linear map; rows are validated on as well."""
    generator = torch.Generator().manual_seed(n_outputs)
    inputs = torch.randn(N_ROWS, N_FEATURES, generator=generator)
    scores = inputs @ torch.randn(N_FEATURES, n_outputs, generator=generator)
    targets, mean, std = scores.argmax(1), (), ()
    if task == "multilabel":
        targets = scores > 0
    elif task == "regression":
        targets = 100 + 7 * scores
        mean, std = (tuple(part.tolist()) for part in (targets.mean(0), targets.std(0)))
    split = ResidentSplit(inputs, targets, torch.arange(N_ROWS), None)
    info = DataInfo(
        "made", "0" * 16, (N_FEATURES,), n_outputs, N_ROWS, N_ROWS,
        task=task, target_mean=mean, target_std=std,
    )  # fmt: skip
    return TrialData(info, split, split, count_rows(targets, task, n_outputs))


def learner_of(task: Task, n_outputs: int, **settings: Any) -> tuple[EagerLearner, TrialData]:
    torch.manual_seed(0)
    data = data_of(task, n_outputs)
    config = TrialConfig(
        params={},
        data=DataConfig(name="made", batch_size=32),
        model=ModelConfig(architecture="mlp", params={"depth": 1, "width": 16}),
        train=TrainConfig(learning_rate=0.02, **settings),
        seed=0,
    )
    return build_learner(config, data, Runtime(CPU)), data


def measured_of(task: Task, n_outputs: int) -> list[str]:
    """Names of the metrics, in their order."""
    absent = set()
    if task == "classification":
        absent = {"val_top5"} if n_outputs <= 10 else set()
        absent |= {"val_auroc"} if n_outputs != 2 else set()
    return [name for name in TASK_METRICS[task] if name not in absent]


@pytest.mark.parametrize(("task", "n_outputs", "settings"), CASES)
def test_a_network_learns_by_it_and_all_metrics_of_the_task_are_measured(
    task: Task, n_outputs: int, settings: Mapping[str, Any]
) -> None:
    learner, data = learner_of(task, n_outputs, **settings, metrics=f"{__name__}:own_metrics")
    loss_before, before = evaluate(learner, data.validation.batches(32))
    shuffle = Shuffle(0)
    for _ in range(12):
        train_epoch(learner, data.train.batches(32, shuffle=shuffle))
    loss, measured = evaluate(learner, data.validation.batches(32))
    assert loss < loss_before
    assert list(measured) == [*measured_of(task, n_outputs), "val_rows"]
    assert measured["val_rows"] == N_ROWS
    assert all(map(math.isfinite, measured.values()))
    for name in measured_of(task, n_outputs):
        falls = name in ("val_rmse", "val_mae")
        assert (measured[name] < before[name]) == falls, name


@pytest.mark.parametrize("task", TASK_LOSSES)
def test_the_losses_of_other_tasks_are_refused_with_those_that_fit(task: Task) -> None:
    for loss in {name for names in TASK_LOSSES.values() for name in names} - {*TASK_LOSSES[task]}:
        with pytest.raises(TrainingError, match=f"train.loss: {loss}.*{TASK_LOSSES[task][0]}"):
            learner_of(task, 2, loss=loss)
