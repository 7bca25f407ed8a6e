"""A user's ``Dataset``, whose rows are looked at as they come."""

import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sweeper.data.own.transforms import Transform
from sweeper.data.targets import count_outputs
from sweeper.errors import DataError
from sweeper.trial import Task

log = logging.getLogger("sweeper")

#: So many rows show whether a Dataset's .targets are what its items say.
_LOOKS = 32


class AlikeRows(Dataset[tuple[Tensor, Any]]):
    """A user's rows, where one that differs from the first is named instead of failing a batch.

    Args:
        dataset: Of the user, with a length.
        transform: What is done to the input of each item before it is looked at.

    Attributes:
        input_shape: Of each.
        input_dtype: Of a batch of them.
    """

    def __init__(self, dataset: Any, transform: Transform | None) -> None:
        self._dataset = dataset
        self._transform = transform
        self._task: Task | None = None  # before all targets are known
        self._targets = torch.empty(0)
        item = dataset[0]
        first = _sample(item, transform)
        check_sides(first.shape)
        self._dtype, self.input_dtype = first.dtype, batch_dtype(first)
        self.input_shape = tuple(first.shape)
        self._target_form = _form(_as_target(0, item[1]))

    def settle(self, targets: Tensor, task: Task) -> None:
        """From now on, a row whose target cannot be one of the task is named."""
        self._targets, self._task = targets, task
        self._n_classes = count_outputs(targets, task)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, row: int) -> tuple[Tensor, Any]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[tuple[Tensor, Any]]:
        """Many at once: ``DataLoader`` asks for a batch this way."""
        fetch = getattr(self._dataset, "__getitems__", None)
        try:
            items = fetch(rows) if fetch else map(self._dataset.__getitem__, rows)
            return [self._checked(row, item) for row, item in zip(rows, items, strict=True)]
        except DataError:
            raise
        except Exception as exc:  # of the user's Dataset
            where = f"row {rows[0]}" if len(rows) == 1 else f"one of rows {list(rows)[:5]}..."
            raise DataError(
                f"{where} of {type(self._dataset).__name__} raised {type(exc).__name__}: {exc}"
            ) from exc

    def _checked(self, row: int, item: Any) -> tuple[Tensor, Tensor]:
        sample = _sample(item, self._transform)
        if sample.dtype != self._dtype:
            raise DataError(
                f"row {row} of {type(self._dataset).__name__} is {sample.dtype}, row 0 "
                f"{self._dtype}; wanted is one dtype for all"
            )
        if sample.shape != self.input_shape:
            raise DataError(
                f"row {row} of {type(self._dataset).__name__} has the shape "
                f"{tuple(sample.shape)}, row 0 {self.input_shape}; wanted is one shape for all: "
                "resize, crop or pad them"
            )
        target = _as_target(row, item[1])
        if (form := _form(target)) != self._target_form:
            raise DataError(
                f"the target of row {row} of {type(self._dataset).__name__} is {form}, that of "
                f"row 0 {self._target_form}; wanted is one form for all"
            )
        if self._task is None:
            return sample, target
        if self._task == "classification" and not 0 <= target < self._n_classes:
            raise DataError(
                f"row {row} of {type(self._dataset).__name__} has the target {target}, and its "
                f".targets go up to {self._n_classes - 1}; wanted are .targets that "
                "say what the items say, or none"
            )
        return sample, target.to(self._targets.dtype).reshape(self._targets.shape[1:])


class JoinedRows(Dataset[tuple[Tensor, Any]]):
    """The rows to train on, then those to validate on.

    Args:
        train: Rows that are asked for together are all of one of the two.
        validation: As ``train``.
        targets: Of both.
        task: Of the targets.
    """

    def __init__(
        self, train: "Dataset[Any]", validation: "Dataset[Any]", targets: Tensor, task: Task
    ) -> None:
        assert isinstance(train, AlikeRows)
        assert isinstance(validation, AlikeRows)
        train.settle(targets, task)
        validation.settle(targets, task)
        self._train = train
        self._validation = validation

    def __len__(self) -> int:
        return len(self._train) + len(self._validation)

    def __getitems__(self, rows: Sequence[int]) -> list[tuple[Tensor, Any]]:
        """As :meth:`AlikeRows.__getitems__`."""
        n_train = len(self._train)
        if rows[0] < n_train:
            return self._train.__getitems__(rows)
        return self._validation.__getitems__([row - n_train for row in rows])


def _form(target: Tensor) -> str:
    return f"{target.dtype} {list(target.shape)}"


def _as_target(row: int, target: object) -> Tensor:
    """Of one row, [] or [K]."""
    if isinstance(target, Tensor | np.ndarray | np.generic) and math.prod(target.shape) == 1:
        target = target.item()
    if isinstance(target, bool | int | float | list | tuple | Tensor | np.ndarray):
        with suppress(TypeError, ValueError, RuntimeError):
            found = torch.as_tensor(target)
            if found.ndim <= 1 and found.numel():
                return found
    raise DataError(
        f"the target of row {row} is {describe(target)}; wanted is a whole number, the class "
        "from 0 on, a fraction, or a truth value or a fraction for each output"
    )


def dataset_targets(dataset: Any, rows: AlikeRows) -> Tensor:
    """Those of ``.targets`` if the items say the same, as far as a few are looked at."""
    name = type(dataset).__name__
    if (known := getattr(dataset, "targets", None)) is None:
        log.info("%s has no .targets: reading every row once", name)
    elif (fault := _targets_fault(known, rows)) == "":
        return torch.as_tensor(known)
    else:
        log.warning("%s: %s; the items count, and every row is read once", name, fault)
    return torch.stack([rows[row][1] for row in range(len(rows))])


def _targets_fault(known: Any, rows: AlikeRows) -> str:
    """Why ``.targets`` are not what the items say, or nothing."""
    try:
        targets = torch.as_tensor(known)
    except (TypeError, ValueError, RuntimeError) as exc:
        return f"its .targets are no classes: {exc}"
    first = rows[0][1]
    if targets.shape != (len(rows), *first.shape):
        return f"its .targets have the shape {tuple(targets.shape)} for {len(rows)} rows"
    n_looks = min(len(rows), _LOOKS)
    for look in range(n_looks):
        row = look * (len(rows) - 1) // max(n_looks - 1, 1)
        if not bool((targets[row] == (target := rows[row][1])).all()):
            told = targets[row].tolist()
            return f"row {row} has the target {target.tolist()}, and .targets say {told}"
    return ""


def batch_dtype(sample: Tensor) -> torch.dtype:
    """In what dtype a batch of such inputs reaches the model."""
    return torch.float32 if sample.dtype == torch.float64 else sample.dtype


def check_sides(shape: Sequence[int]) -> None:
    """Refuse samples without a value."""
    if 0 in shape:
        raise DataError(f"a sample has the shape {tuple(shape)}, in which there is no value")


def _sample(item: object, transform: Transform | None) -> Tensor:
    """The input of a Dataset's item, which must be (input, target), after the transform."""
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(f"an item is {describe(item)}; wanted is (input, target)")
    value = item[0] if transform is None else transform(item[0])
    if not isinstance(value, Tensor | np.ndarray):
        raise DataError(
            f"the input of an item is {describe(value)}; wanted is a tensor (for images, give "
            "the Dataset a transform that ends in one, or name it as data.transform and "
            "data.validation_transform)"
        )
    sample = torch.as_tensor(value)
    if sample.dtype == torch.uint8:
        raise DataError(
            "the input of an item is uint8; a Dataset makes its inputs ready for the model, so "
            "convert it to float32 there, or return tensors, whose uint8 are normalised"
        )
    return sample


def describe(value: object) -> str:
    """What a user's code gave, in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    if isinstance(value, tuple | list) and len(value) <= 4:
        return f"a {type(value).__name__} of ({', '.join(type(v).__name__ for v in value)})"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
