"""What a validation pass measures: its loss, and more for each task.

Outputs are gathered on the device and read once, at the end of the pass. Each figure is that of
scikit-learn's function of the same name with the same average.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from sweeper.config.metrics import METRICS, metrics_but_of
from sweeper.config.references import load_reference
from sweeper.errors import TrainingError
from sweeper.text import format_count
from sweeper.trial import DataInfo, Objective

#: With more classes it is measured whether the target is among the five largest outputs.
_TOP = 5
_MANY_CLASSES = 10


class Metrics(Protocol):
    """Of one pass over the validation rows."""

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Take a batch in: float32 [B, n_outputs], and the task's targets, on the device."""

    def compute(self) -> Mapping[str, float]:
        """Name -> value over all samples; waits for the device."""


def build_metrics(data: DataInfo, own: str | None) -> Callable[[], Metrics]:
    """Makes the metrics of each pass.

    Args:
        data: Whose task and outputs count.
        own: The user's ``train.metrics``.

    Raises:
        SpecError: If the user's function cannot be imported.
    """
    makers: Mapping[str, Callable[[], Metrics]] = {
        "classification": lambda: ClassificationMetrics(data.n_outputs),
        "multilabel": lambda: Gathered(_multilabel_metrics),
        "regression": lambda: Gathered(partial(_regression_metrics, data)),
    }
    make = makers[data.task]
    if own is None:
        return make
    measure = partial(_own_metrics, data, own, load_reference(own))
    return lambda: WithOwnMetrics(make(), Gathered(measure), own)


def metric_names(data: DataInfo) -> tuple[str, ...]:
    """All that an epoch on some data reports, in the order in which tables show it."""
    others = set(metrics_but_of([data.task]))
    if data.task == "classification" and data.n_outputs <= _MANY_CLASSES:
        others.add("val_top5")
    if data.task == "classification" and data.n_outputs != 2:
        others.add("val_auroc")
    return tuple(name for name in METRICS if name not in others)


def require_measured(objective: Objective, data: DataInfo, measured: Collection[str]) -> None:
    """See that an objective is among what is measured of some data.

    Raises:
        TrainingError: If it is not.
    """
    if missing := [name for name in objective.metrics if name not in measured]:
        raise TrainingError(
            f"objective.metric: nobody measures {', '.join(missing)}: the task of {data.name} is "
            f"{data.task}, with {format_count(data.n_outputs, 'output')}; take "
            f"{', '.join(measured)}, or state data.task"
        )


class Evaluation:
    """What a pass over the validation rows has measured so far.

    Args:
        metrics: Beside the loss.
        loss: 0 on the device, float32 [].
    """

    def __init__(self, metrics: Metrics, loss: Tensor) -> None:
        self.metrics = metrics
        self.loss = loss
        self.n_samples = 0

    def add(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Take a batch in, with its loss summed over the samples."""
        self.loss += loss
        self.measure(outputs, targets)

    def measure(self, outputs: Tensor, targets: Tensor) -> None:
        """Take a batch in whose loss is in the sum already."""
        self.metrics.update(outputs, targets)
        self.n_samples += len(targets)

    def result(self) -> tuple[float, Mapping[str, float]]:
        """The mean loss and the metrics; waits for the device."""
        return self.loss.item() / self.n_samples, self.metrics.compute()


class ClassificationMetrics:
    """Accuracy, macro F1; top-5 accuracy of many classes; area under the ROC curve of two.

    Args:
        n_classes: Outputs of a sample.
    """

    def __init__(self, n_classes: int) -> None:
        self._n_classes = n_classes
        self._columns: list[list[Tensor]] = []

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """See :class:`Metrics`."""
        columns = [targets, outputs.argmax(1)]
        if self._n_classes > _MANY_CLASSES:
            columns.append((outputs.topk(_TOP, 1).indices == targets[:, None]).any(1))
        if self._n_classes == 2:
            columns.append(outputs[:, 1] - outputs[:, 0])
        self._columns.append(columns)

    def compute(self) -> Mapping[str, float]:
        """See :class:`Metrics`."""
        targets, predicted, *others = (
            torch.cat(c).cpu() for c in zip(*self._columns, strict=True)
        )
        is_hit = predicted == targets
        values = {"val_accuracy": is_hit.double().mean().item()}
        if self._n_classes > _MANY_CLASSES:
            values["val_top5"] = others[0].double().mean().item()
        hits, wanted, named = (
            torch.bincount(classes, minlength=self._n_classes)
            for classes in (targets[is_hit], targets, predicted)
        )
        values["val_f1"] = _f1(hits, wanted, named)[wanted + named > 0].mean().item()
        if self._n_classes == 2:
            values["val_auroc"] = auroc(others[0], targets == 1)
        return values


class Gathered:
    """Measured at the end, of all outputs and targets as they are.

    Args:
        measure: Outputs [N, n_outputs] and targets [N, ...], on the CPU -> name -> value.
    """

    def __init__(self, measure: Callable[[Tensor, Tensor], Mapping[str, float]]) -> None:
        self._measure = measure
        self._batches: list[tuple[Tensor, Tensor]] = []

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """See :class:`Metrics`."""
        self._batches.append((outputs, targets))

    def compute(self) -> Mapping[str, float]:
        """See :class:`Metrics`."""
        return self._measure(*(torch.cat(c).cpu() for c in zip(*self._batches, strict=True)))


def _multilabel_metrics(outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
    """Macro F1 at a probability of one half, and macro area under the ROC curve.

    The area is of those labels that some rows have and others not.
    """
    predicted, targets = outputs > 0, targets.bool()
    f1 = _f1((predicted & targets).sum(0), targets.sum(0), predicted.sum(0))
    areas = [auroc(score, label) for score, label in zip(outputs.T, targets.T, strict=True)]
    known = torch.tensor(areas, dtype=torch.float64)
    return {"val_f1": f1.mean().item(), "val_auroc": known.nanmean().item()}


def _regression_metrics(data: DataInfo, outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
    """Root mean squared and mean absolute error in units of the targets, and R2.

    Several targets count as their mean.
    """
    targets = targets.double()
    errors = _in_units(data, outputs.double()) - targets
    squares = (errors**2).mean(0)
    spread = ((targets - targets.mean(0)) ** 2).mean(0)
    # Of targets that are all alike: 1 if each is met, else 0.
    r2 = torch.where(spread > 0, 1 - squares / spread, (squares == 0).double())
    return {
        "val_rmse": squares.sqrt().mean().item(),
        "val_mae": errors.abs().mean().item(),
        "val_r2": r2.mean().item(),
    }


def _in_units(data: DataInfo, outputs: Tensor) -> Tensor:
    """Outputs [N, n_outputs] in the units of the targets; of others than numbers as they are."""
    if not data.target_mean:
        return outputs
    std = torch.tensor(data.target_std, dtype=torch.float64)
    return outputs * std + torch.tensor(data.target_mean, dtype=torch.float64)


def _own_metrics(
    data: DataInfo,
    reference: str,
    function: Callable[..., Any],
    outputs: Tensor,
    targets: Tensor,
) -> Mapping[str, float]:
    """What a function of the user's own makes of a whole pass.

    Raises:
        TrainingError: If it returns something else than a mapping of names to numbers.
    """
    found = function(_in_units(data, outputs), targets)
    try:
        return {str(name): float(value) for name, value in found.items()}
    except (AttributeError, TypeError, ValueError, RuntimeError) as exc:
        raise TrainingError(
            f"train.metrics: {reference} must return a mapping of names to numbers, got "
            f"{type(found).__name__}"
        ) from exc


class WithOwnMetrics:
    """What a task measures, and what a function of the user's own does.

    Args:
        metrics: Of the task.
        own: Of the function.
        reference: Of the function, for messages.
    """

    def __init__(self, metrics: Metrics, own: Metrics, reference: str) -> None:
        self._metrics = metrics
        self._own = own
        self._reference = reference

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """See :class:`Metrics`."""
        self._metrics.update(outputs, targets)
        self._own.update(outputs, targets)

    def compute(self) -> Mapping[str, float]:
        """See :class:`Metrics`.

        Raises:
            TrainingError: If the function returns something else, or what the task measures.
        """
        values, own = self._metrics.compute(), self._own.compute()
        if taken := sorted(own.keys() & values.keys()):
            raise TrainingError(
                f"train.metrics: {self._reference} returns {', '.join(taken)}, which is measured "
                "already; choose another name"
            )
        return {**values, **own}


def _f1(hits: Tensor, wanted: Tensor, named: Tensor) -> Tensor:
    """2 PR / (P + R) of each class, 0 where nothing was hit [classes]."""
    return 2 * hits.double() / (wanted + named).clamp(min=1)


def auroc(scores: Tensor, is_positive: Tensor) -> float:
    """Chance that a positive has a higher score than a negative; a tie counts half.

    Args:
        scores: [N].
        is_positive: A truth value [N].

    Returns:
        In [0, 1]; NaN if all are positive, or none.

    Source: Mann and Whitney 1947, by ranks.
    """
    n = len(scores)
    n_positive = int(is_positive.sum())
    if n_positive in (0, n):
        return float("nan")
    _, of, n_equal = torch.unique(scores, return_inverse=True, return_counts=True)
    ranks = (n_equal.cumsum(0).double() - (n_equal.double() - 1) / 2)[of]
    above: float = ranks[is_positive].sum().item() - n_positive * (n_positive + 1) / 2
    return above / (n_positive * (n - n_positive))
