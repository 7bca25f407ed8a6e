"""Each metric is scikit-learn's, on random and on degenerate outputs."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from torch import Tensor

from sweeper.config.metrics import LOSSES, TASK_METRICS
from sweeper.errors import TrainingError
from sweeper.training.metrics import build_metrics, metric_names, require_measured
from sweeper.trial import DataInfo, Objective, Task


def info(task: Task, n_outputs: int, **more: Any) -> DataInfo:
    return DataInfo("made", "0" * 16, (3,), n_outputs, 90, 10, task=task, **more)


def measured(data: DataInfo, outputs: Tensor, targets: Tensor, batch: int = 7) -> dict[str, float]:
    metrics = build_metrics(data, None)()
    for rows in torch.arange(len(targets)).split(batch):
        metrics.update(outputs[rows], targets[rows])
    return dict(metrics.compute())


def expected_classes(outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
    """By scikit-learn; NaN where an area has one class alone."""
    predicted, n_classes = outputs.argmax(1), outputs.shape[1]
    values = {
        "val_accuracy": sklearn.accuracy_score(targets, predicted),
        "val_f1": sklearn.f1_score(targets, predicted, average="macro"),
    }
    if n_classes > 10:
        values["val_top5"] = sklearn.top_k_accuracy_score(
            targets, outputs, k=5, labels=np.arange(n_classes)
        )
    if n_classes == 2:
        values["val_auroc"] = sklearn.roc_auc_score(targets, outputs[:, 1] - outputs[:, 0])
    return values


def agree(found: Mapping[str, float], wanted: Mapping[str, float]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name


@given(st.integers(1, 14), st.integers(1, 40), st.integers(0, 2**32), st.booleans())
def test_classes(n_classes: int, n_rows: int, seed: int, is_tied: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n_rows, n_classes, generator=generator)
    if is_tied and n_classes <= 10:  # of ties among the largest five anybody may choose
        outputs = outputs.round()
    targets = torch.randint(n_classes, (n_rows,), generator=generator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one class alone
        wanted = expected_classes(outputs, targets)
    agree(measured(info("classification", n_classes), outputs, targets), wanted)


@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**32), st.booleans())
def test_labels(n_labels: int, n_rows: int, seed: int, is_tied: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n_rows, n_labels, generator=generator)
    outputs = outputs.round() if is_tied else outputs
    targets = torch.rand(n_rows, n_labels, generator=generator) < 0.3
    known = [k for k in range(n_labels) if 0 < targets[:, k].sum() < n_rows]
    areas = [sklearn.roc_auc_score(targets[:, k], outputs[:, k]) for k in known]
    f1 = [
        sklearn.f1_score(targets[:, k], outputs[:, k] > 0, zero_division=0)
        for k in range(n_labels)
    ]
    wanted = {"val_f1": np.mean(f1), "val_auroc": np.mean(areas) if areas else math.nan}
    agree(measured(info("multilabel", n_labels), outputs, targets), wanted)


@given(st.integers(1, 3), st.integers(2, 40), st.integers(0, 2**32), st.booleans())
def test_numbers(n_targets: int, n_rows: int, seed: int, is_constant: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n_rows, n_targets, generator=generator)
    targets = torch.randn(n_rows, n_targets, generator=generator) * 1000 + 5e5
    targets = targets[:1].expand(n_rows, -1) if is_constant else targets
    mean, std = tuple(range(n_targets)), tuple(range(1, n_targets + 1))
    data = info("regression", n_targets, target_mean=mean, target_std=std)
    predicted = outputs.double() * torch.tensor(std) + torch.tensor(mean)
    wanted = {
        "val_rmse": sklearn.root_mean_squared_error(targets, predicted),
        "val_mae": sklearn.mean_absolute_error(targets, predicted),
        "val_r2": sklearn.r2_score(targets, predicted),
    }
    found = measured(data, outputs, targets)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("task", "n_outputs", "missing"),
    [
        ("classification", 2, {"val_top5"}),
        ("classification", 10, {"val_top5", "val_auroc"}),
        ("classification", 11, {"val_auroc"}),
        ("multilabel", 2, set()),
        ("regression", 1, set()),
    ],
)
def test_the_names_are_those_of_what_is_measured(
    task: Task, n_outputs: int, missing: set[str]
) -> None:
    scale = {"target_mean": (0.0,), "target_std": (1.0,)} if task == "regression" else {}
    data = info(task, n_outputs, **scale)
    targets = {
        "classification": torch.arange(30) % n_outputs,
        "multilabel": torch.arange(60).view(30, 2) % 2 == 0,
        "regression": torch.arange(30.0)[:, None],
    }
    found = measured(data, torch.randn(30, n_outputs), targets[task])
    assert found.keys() == set(TASK_METRICS[task]) - missing
    told = set(metric_names(data))
    assert told == found.keys() | {*LOSSES, "learning_rate", "epoch_seconds"}


def count_hits(outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    return {"val_hits": (outputs.argmax(1) == targets).sum()}


def mean_error(outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    return {"val_bias": (outputs - targets).mean()}


def test_own_metrics_of_a_regression_are_in_the_units_of_the_targets() -> None:
    data = info("regression", 1, target_mean=(100.0,), target_std=(10.0,))
    metrics = build_metrics(data, f"{__name__}:mean_error")()
    metrics.update(torch.tensor([[1.0], [-1.0]]), torch.tensor([[100.0], [90.0]]))
    values = metrics.compute()
    assert (values["val_bias"], values["val_mae"]) == (5.0, 5.0)


def return_a_number(outputs: Tensor, targets: Tensor) -> float:
    return 1.0


def repeat_accuracy(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    return {"val_accuracy": 1.0}


def test_metrics_of_the_users_own_come_beside_those_of_the_task() -> None:
    metrics = build_metrics(info("classification", 3), f"{__name__}:count_hits")()
    metrics.update(torch.eye(3), torch.tensor([0, 1, 1]))
    metrics.update(torch.eye(3)[:1], torch.tensor([0]))
    values = metrics.compute()
    assert (values["val_accuracy"], values["val_hits"]) == (0.75, 3.0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("return_a_number", "must return a mapping of names to numbers, got float"),
        ("repeat_accuracy", "returns val_accuracy, which is measured already"),
    ],
)
def test_what_own_metrics_may_not_return(name: str, message: str) -> None:
    metrics = build_metrics(info("classification", 3), f"{__name__}:{name}")()
    metrics.update(torch.eye(3), torch.tensor([0, 1, 1]))
    with pytest.raises(TrainingError, match=message):
        metrics.compute()


def test_an_objective_that_nobody_measures_is_refused() -> None:
    data = info("regression", 1, target_mean=(0.0,), target_std=(1.0,))
    objective = Objective(("val_accuracy",), ("maximize",))
    with pytest.raises(TrainingError) as caught:
        require_measured(objective, data, metric_names(data))
    assert str(caught.value) == (
        "objective.metric: nobody measures val_accuracy: the task of made is regression, with 1 "
        "output; take train_loss, val_loss, val_rmse, val_mae, val_r2, learning_rate, "
        "epoch_seconds, or state data.task"
    )
