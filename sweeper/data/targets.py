"""What is to be learned of each row: targets of any dtype -> those of a task."""

import torch
from torch import Tensor

from sweeper.errors import DataError
from sweeper.trial import Task

#: Of so many classes that more than 99 in 100 never occur, the targets are ids.
_MANY_CLASSES, _SPARSE = 1000, 100
#: Rows of a regression are parted by so many quantiles of their first target, but each holds so
#: many rows at least: of any, some are held out and some not.
_QUANTILES, _FEWEST_IN_ONE = 10, 20
_WAYS = (
    "wanted are whole numbers [N], the class of each row from 0 on; fractions [N] or [N, K], "
    "which makes a regression; or truth values [N, K], which makes K labels"
)


def read_targets(targets: Tensor, task: Task | None) -> tuple[Tensor, Task]:
    """Targets in the form of their task.

    Args:
        targets: [N] or [N, K].
        task: As the study file states it; None to infer it.

    Returns:
        On the CPU: for a classification int64 [N], for labels bool [N, K], for a regression
        float32 [N, K]; and the task.

    Raises:
        DataError: If they cannot be targets of the task, or could be of more than one.
    """
    targets = targets.detach().cpu()
    if 0 in targets.shape:
        raise DataError("there are no rows, or no targets of them; wanted is at least one of each")
    if targets.is_complex() or targets.ndim not in (1, 2):
        raise DataError(f"targets are {targets.dtype} {list(targets.shape)}; {_WAYS}")
    readers = {"classification": _classes, "multilabel": _labels, "regression": _numbers}
    task = task or _infer(targets)
    return readers[task](targets).contiguous(), task


def _infer(targets: Tensor) -> Task:
    if targets.is_floating_point():
        return "regression"
    if targets.ndim == 1:
        return "classification"
    if targets.dtype == torch.bool:
        return "multilabel"
    if targets.shape[1] == 1:
        raise DataError(
            f"targets are {targets.dtype} {list(targets.shape)}; give classes as [N], by "
            "targets.squeeze(1), or say that they are numbers by data.task: regression"
        )
    raise DataError(
        f"targets are {targets.dtype} {list(targets.shape)}, which may be labels or numbers; say "
        "which by data.task: multilabel, or data.task: regression"
    )


def _classes(targets: Tensor) -> Tensor:
    if targets.ndim != 1 or targets.is_floating_point():
        raise DataError(
            f"targets are {targets.dtype} {list(targets.shape)}; a classification wants whole "
            "numbers [N], the class of each row from 0 on"
        )
    targets = targets.to(torch.int64)
    if int(targets.min()) < 0:
        raise DataError(f"a target is {int(targets.min())}; wanted are classes from 0 on")
    if (highest := int(targets.max())) >= _MANY_CLASSES:
        n_different = len(set(targets.tolist()))
        if highest >= _SPARSE * n_different:
            raise DataError(
                f"targets go up to {highest}, but only {n_different} differ; number them "
                f"0..{n_different - 1}, as the model has an output for each number, or say that "
                "they are numbers by data.task: regression"
            )
    return targets


def _labels(targets: Tensor) -> Tensor:
    is_label = (targets == 0) | (targets == 1)
    if targets.ndim != 2 or not bool(is_label.all()):
        odd = f", one of them {targets[~is_label][0].item():g}" if not bool(is_label.all()) else ""
        raise DataError(
            f"targets are {targets.dtype} {list(targets.shape)}{odd}; multilabel wants a truth "
            "value for each label [N, K], or 0 and 1"
        )
    return targets.bool()


def _numbers(targets: Tensor) -> Tensor:
    numbers = targets.float().reshape(len(targets), -1)
    is_finite = numbers.isfinite().all(1)
    if not bool(is_finite.all()):
        row = int((~is_finite).nonzero()[0])
        raise DataError(f"the target of row {row} is {numbers[row].tolist()}; drop such rows")
    return numbers


def count_outputs(targets: Tensor, task: Task) -> int:
    """Outputs of a model for each sample: classes, labels, or numbers."""
    return int(targets.max()) + 1 if task == "classification" else targets.shape[1]


def count_rows(targets: Tensor, task: Task, n_outputs: int) -> Tensor:
    """Rows of each class, or with each label, int64 [n_outputs]; of a regression [0]."""
    if task == "classification":
        return torch.bincount(targets, minlength=n_outputs)
    return targets.sum(0) if task == "multilabel" else torch.empty(0, dtype=torch.int64)


def naive_mark(targets: Tensor, task: Task, parts: tuple[Tensor, Tensor]) -> float | None:
    """What a model reaches that says the same of every validation row.

    Args:
        targets: Of all rows.
        task: Of the targets.
        parts: Training and validation rows.

    Returns:
        The accuracy of the training rows' commonest class, or the root mean squared error of
        their mean, in the targets' units and of several targets the mean; None of labels.
    """
    train, validation = (targets[rows] for rows in parts)
    if task == "classification":
        return (validation == torch.bincount(train).argmax()).double().mean().item()
    if task == "multilabel":
        return None
    errors = validation.double() - train.double().mean(0)
    return (errors**2).mean(0).sqrt().mean().item()


def strata(targets: Tensor, task: Task) -> Tensor:
    """Groups of rows of which training and validation take alike, int64 [N].

    Of classes each is one; of labels, those rows whose rarest label it is; of numbers, ten
    quantiles of the first, fewer of less than 200 rows.
    """
    if task == "classification":
        return targets
    if task == "multilabel":
        order = targets.sum(0).argsort(stable=True)
        found = targets[:, order].int()
        return torch.where(found.any(1), found.argmax(1), len(order))
    ranks = targets[:, 0].argsort(stable=True).argsort()
    n_quantiles = max(min(_QUANTILES, len(targets) // _FEWEST_IN_ONE), 1)
    return ranks * n_quantiles // len(targets)
