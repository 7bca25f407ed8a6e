"""Targets of any form, and how rows are grouped by them."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sweeper.config.settings import DataConfig
from sweeper.data.dataset import TrialData, load_data
from sweeper.data.targets import count_outputs, count_rows, read_targets, strata
from sweeper.errors import DataError
from sweeper.trial import Task

CLASSES = torch.tensor([2, 0, 1, 0])
LABELS = torch.tensor([[True, False], [True, True], [False, False], [True, False]])
NUMBERS = torch.tensor([0.5, 2.0, -1.0, 8.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("given", "stated", "task", "read"),
    [
        (CLASSES, None, "classification", CLASSES),
        (CLASSES.to(torch.uint8), None, "classification", CLASSES),
        (LABELS[:, 1], None, "classification", torch.tensor([0, 1, 0, 0])),
        (LABELS, None, "multilabel", LABELS),
        (LABELS.int(), "multilabel", "multilabel", LABELS),
        (LABELS.float(), "multilabel", "multilabel", LABELS),
        (NUMBERS, None, "regression", NUMBERS.float()[:, None]),
        (NUMBERS.view(2, 2), None, "regression", NUMBERS.float().view(2, 2)),
        (CLASSES, "regression", "regression", CLASSES.float()[:, None]),
        (LABELS.int(), "regression", "regression", LABELS.float()),
    ],
)  # fmt: skip
def test_targets_in_the_form_of_their_task(
    given: Tensor, stated: Task | None, task: Task, read: Tensor
) -> None:
    targets, found = read_targets(given, stated)
    assert found == task
    torch.testing.assert_close(targets, read, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("given", "stated", "message"),
    [
        (LABELS.int(), None, "which may be labels or numbers; say which by data.task"),
        (NUMBERS, "classification", r"a classification wants whole numbers \[N\]"),
        (LABELS, "classification", r"a classification wants whole numbers \[N\]"),
        (CLASSES, "multilabel", r"wants a truth value for each label \[N, K\]"),
        (NUMBERS[:, None], "multilabel", r"float64 \[4, 1\], one of them 0.5; multilabel wants"),
        (NUMBERS.log(), None, r"the target of row 2 is \[nan\]; drop such rows"),
        (CLASSES - 1, None, "a target is -1; wanted are classes from 0 on"),
        (NUMBERS.to(torch.complex64), None, r"targets are torch.complex64 \[4\]; wanted are"),
    ],
)
def test_what_cannot_be_targets_is_refused(
    given: Tensor, stated: Task | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_targets(given, stated)


def test_outputs_and_rows_are_counted_by_task() -> None:
    numbers = NUMBERS[:, None]
    assert [
        count_outputs(CLASSES, "classification"),
        count_outputs(LABELS, "multilabel"),
        count_outputs(numbers, "regression"),
    ] == [3, 2, 1]
    assert count_rows(CLASSES, "classification", 4).tolist() == [2, 1, 1, 0]
    assert count_rows(LABELS, "multilabel", 2).tolist() == [3, 1]
    assert count_rows(numbers, "regression", 1).tolist() == []


def test_rows_are_grouped_by_class_by_rarest_label_and_by_quantile() -> None:
    assert torch.equal(strata(CLASSES, "classification"), CLASSES)
    # Label 1 is the rarer one; row 2 has none.
    assert strata(LABELS, "multilabel").tolist() == [1, 0, 2, 1]
    numbers = torch.arange(400.0).flip(0)[:, None]
    assert strata(numbers, "regression").tolist() == [9 - row // 40 for row in range(400)]
    few = torch.arange(50.0)[:, None]
    assert strata(few, "regression").tolist() == [row // 25 for row in range(50)]
    assert strata(few[:3], "regression").tolist() == [0, 0, 0]


INPUTS = torch.arange(40.0)[:, None]
TARGETS: dict[Task, Tensor] = {
    "classification": torch.arange(40) % 3,
    "multilabel": torch.stack([torch.arange(40) % 2 == 0, torch.arange(40) % 5 == 0], 1),
    "regression": torch.arange(40.0) * 10,
}


class Rows(Dataset[Any]):
    """Items as people write them: a plain number for a class or a number."""

    def __init__(self, targets: Tensor) -> None:
        self._targets = targets

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, row: int) -> Any:
        target = self._targets[row]
        return INPUTS[row], target if target.ndim else target.item()


def load_rows(task: Task, *, is_dataset: bool) -> object:
    return (Rows(TARGETS[task]) if is_dataset else (INPUTS, TARGETS[task])), None


def loaded(task: Task, folder: Path, *, is_dataset: bool) -> TrialData:
    params = {"task": task, "is_dataset": is_dataset}
    name = f"{__name__}:load_rows"
    config = DataConfig(name=name, validation=0.25, params=params)
    return load_data(
        config, cache_dir=folder, seed=0, device=torch.device("cpu"), resident_bytes=2**20
    )


@pytest.mark.parametrize("task", TARGETS)
def test_own_data_of_each_task_come_alike_as_tensors_and_as_a_dataset(
    task: Task, tmp_path: Path
) -> None:
    from_tensors = loaded(task, tmp_path, is_dataset=False)
    from_dataset = loaded(task, tmp_path, is_dataset=True)
    assert from_tensors.info.task == from_dataset.info.task == task
    assert from_tensors.info.n_outputs == from_dataset.info.n_outputs
    assert torch.equal(from_tensors.counts, from_dataset.counts)
    wanted, _ = read_targets(TARGETS[task], None)
    for data in (from_tensors, from_dataset):
        assert (data.info.n_train, data.info.n_validation) == (30, 10)
        for split in (data.train, data.validation):
            for inputs, targets in split.batches(8):
                rows = inputs[:, 0].long()
                torch.testing.assert_close(targets, wanted[rows], rtol=0, atol=0)


def test_the_scale_of_a_regression_is_that_of_its_training_rows(tmp_path: Path) -> None:
    data = loaded("regression", tmp_path, is_dataset=False)
    targets = torch.cat([targets for _, targets in data.train.batches(8)])
    assert data.info.target_mean == pytest.approx((targets.mean().item(),))
    assert data.info.target_std == pytest.approx((targets.std(correction=0).item(),))
    held_out = torch.cat([targets for _, targets in data.validation.batches(8)])
    # Of 40 rows, five of each half, as of two classes.
    assert sorted(int(target) // 200 for target in held_out) == [0] * 5 + [1] * 5


def load_three(*, is_dataset: bool) -> object:
    held_out = INPUTS + 1000, TARGETS["classification"]
    if is_dataset:
        return Rows(TARGETS["classification"]), Far(held_out[1]), None
    return (INPUTS, TARGETS["classification"]), held_out, None


class Far(Rows):
    def __getitem__(self, row: int) -> Any:
        inputs, target = super().__getitem__(row)
        return inputs + 1000, target


@pytest.mark.parametrize("is_dataset", [False, True])
def test_own_validation_rows_are_the_validation_rows(is_dataset: bool, tmp_path: Path) -> None:
    config = DataConfig(name=f"{__name__}:load_three", params={"is_dataset": is_dataset})
    load = partial(load_data, cache_dir=tmp_path, device=torch.device("cpu"), resident_bytes=2**20)
    data = load(config, seed=0)
    for split, first in ((data.train, 0), (data.validation, 1000)):
        rows = torch.cat([inputs for inputs, _ in split.batches(7)])[:, 0]
        assert sorted(rows.tolist()) == [first + row for row in range(40)]
    assert data.remark == ""
    stated = load(replace(config, validation=0.3), seed=1)
    assert stated.info.n_validation == 40
    assert "brings its own validation rows, so data.validation is not looked at" in stated.remark
