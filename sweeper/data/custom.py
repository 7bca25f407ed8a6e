"""A user's own data set: ``load(**params) -> (train, test)``, called and checked."""

import copy
import logging
from collections.abc import Mapping, Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from sweeper.config.references import load_reference
from sweeper.data.channels import ChannelSums
from sweeper.data.fingerprint import content_digest
from sweeper.data.rows import DatasetRows, TensorRows
from sweeper.errors import DataError

log = logging.getLogger("sweeper")

_WANTED = (
    "wanted is (train, test), each a pair of tensors (inputs, targets) or a torch Dataset; "
    "test may be None"
)


def load_custom(reference: str, params: Mapping[str, Any]) -> TensorRows | DatasetRows:
    """Call ``package.module:function`` and take the train split; the test split stays untouched.

    Raises:
        SpecError: If the function cannot be imported.
        DataError: If it raises, or returns something of another form.
    """
    function = load_reference(reference)
    try:
        loaded = function(**copy.deepcopy(dict(params)))
    except (Exception, SystemExit) as exc:  # a script's main function may call sys.exit
        raise DataError(f"{reference} raised {type(exc).__name__}: {exc}") from exc
    if not isinstance(loaded, tuple) or len(loaded) != 2:
        raise DataError(f"{reference} returned {_describe(loaded)}; {_WANTED}")
    try:
        return _rows(loaded[0])
    except DataError as exc:
        raise DataError(f"{reference}: train: {exc}") from exc
    except Exception as exc:  # of the user's Dataset
        raise DataError(f"{reference}: train: raised {type(exc).__name__}: {exc}") from exc


def _rows(train: object) -> TensorRows | DatasetRows:
    if isinstance(train, TensorDataset):
        train = train.tensors
    if isinstance(train, Dataset):
        return _dataset_rows(train)
    if isinstance(train, tuple) and len(train) == 2:
        inputs, targets = train
        if isinstance(inputs, Tensor) and isinstance(targets, Tensor):
            return _tensor_rows(inputs, targets)
    raise DataError(f"got {_describe(train)}; {_WANTED}")


def _tensor_rows(inputs: Tensor, targets: Tensor) -> TensorRows:
    targets = _check_targets(targets)
    if inputs.ndim == 0 or len(inputs) != len(targets):
        raise DataError(
            f"inputs {tuple(inputs.shape)} and targets {tuple(targets.shape)} have different "
            "numbers of rows; wanted are [N, ...] and [N]"
        )
    inputs = inputs.detach().cpu().contiguous()
    if inputs.dtype == torch.float64:
        inputs = inputs.float()
    sums = ChannelSums.of(inputs.numpy()) if inputs.dtype == torch.uint8 else None
    return TensorRows(inputs, targets, content_digest(inputs, targets), sums)


def _dataset_rows(dataset: "Dataset[Any]") -> DatasetRows:
    if not isinstance(dataset, Sized):
        raise DataError(
            f"{type(dataset).__name__} has no length; wanted is a Dataset with __len__ and "
            "__getitem__, as rows are split and shuffled by their index"
        )
    if len(dataset) == 0:
        raise DataError(f"{type(dataset).__name__} is empty; wanted is at least one row per class")
    rows = _AlikeRows(dataset, len(dataset))
    targets = _check_targets(_dataset_targets(dataset, rows))
    if len(targets) != len(dataset):
        raise DataError(
            f"{type(dataset).__name__} has {len(dataset)} rows, its .targets {len(targets)}; "
            "wanted is one target a row"
        )
    return DatasetRows(rows, targets, content_digest(targets), rows.input_shape)


class _AlikeRows(Dataset[tuple[Tensor, Any]]):
    """A user's rows, where one that differs from the first is named instead of failing a batch."""

    def __init__(self, dataset: Any, n_rows: int) -> None:
        self._dataset = dataset
        self._n_rows = n_rows
        self.input_shape = tuple(_check_item(dataset[0]).shape)

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, row: int) -> tuple[Tensor, Any]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[tuple[Tensor, Any]]:
        """Many at once: ``DataLoader`` asks for a batch this way."""
        fetch = getattr(self._dataset, "__getitems__", None)
        items = fetch(rows) if fetch else map(self._dataset.__getitem__, rows)
        return [self._checked(row, item) for row, item in zip(rows, items, strict=True)]

    def _checked(self, row: int, item: Any) -> tuple[Tensor, Any]:
        sample = _check_item(item)
        if sample.shape != self.input_shape:
            raise DataError(
                f"row {row} of {type(self._dataset).__name__} has the shape "
                f"{tuple(sample.shape)}, row 0 {self.input_shape}; wanted is one shape for all: "
                "resize, crop or pad them"
            )
        return sample, item[1]


def _dataset_targets(dataset: Any, rows: _AlikeRows) -> Tensor:
    targets = getattr(dataset, "targets", None)
    if targets is None:
        log.info("%s has no .targets: reading every row once", type(dataset).__name__)
        targets = [rows[row][1] for row in range(len(rows))]
    return torch.as_tensor(targets)


def _check_item(item: object) -> Tensor:
    """The input of a Dataset's item, which must be (input, target)."""
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(f"an item is {_describe(item)}; wanted is (input, target)")
    if not isinstance(item[0], Tensor | np.ndarray):
        raise DataError(
            f"the input of an item is {_describe(item[0])}; wanted is a tensor (for images, give "
            "the Dataset a transform that ends in one)"
        )
    sample = torch.as_tensor(item[0])
    if sample.dtype == torch.uint8:
        raise DataError(
            "the input of an item is uint8; a Dataset makes its inputs ready for the model, so "
            "convert it to float32 there, or return tensors, whose uint8 are normalised"
        )
    return sample


def _check_targets(targets: Tensor) -> Tensor:
    """Targets as int64 [N] on the CPU."""
    targets = targets.detach().cpu()
    if targets.dtype == torch.bool or targets.is_floating_point() or targets.is_complex():
        raise DataError(f"targets are {targets.dtype}; wanted are integers, the classes from 0 on")
    if targets.ndim != 1:
        raise DataError(f"targets have the shape {tuple(targets.shape)}; wanted is [N]")
    if len(targets) == 0:
        raise DataError("there are no rows; wanted is at least one row per class")
    if int(targets.min()) < 0:
        raise DataError(f"a target is {int(targets.min())}; wanted are classes from 0 on")
    return targets.to(torch.int64).contiguous()


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    if isinstance(value, tuple | list) and len(value) <= 4:
        return f"a {type(value).__name__} of ({', '.join(type(v).__name__ for v in value)})"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
