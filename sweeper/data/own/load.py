"""A user's own data set: ``load(**params) -> (train, test)``, called and checked."""

import copy
import logging
from collections.abc import Sized
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from sweeper.config.references import load_reference
from sweeper.config.settings import DataConfig
from sweeper.data.channels import ChannelSums
from sweeper.data.fingerprint import content_digest
from sweeper.data.own.dataset import (
    AlikeRows,
    JoinedRows,
    batch_dtype,
    check_sides,
    dataset_targets,
    describe,
)
from sweeper.data.own.first_call import call_in_turn
from sweeper.data.own.transforms import Transform, drawing_transform, load_transform
from sweeper.data.rows import DatasetRows, TensorRows
from sweeper.data.targets import read_targets
from sweeper.errors import DataError
from sweeper.trial import Task, are_channels_last

log = logging.getLogger("sweeper")

_WANTED = (
    "wanted is (train, test) or (train, validation, test), each a pair of tensors (inputs, "
    "targets) or a torch Dataset; test may be None"
)


def load_custom(config: DataConfig, lock_dir: Path) -> TensorRows | DatasetRows:
    """Call ``package.module:function`` and take what it returns to train and to validate on.

    The test split stays untouched.

    Args:
        config: Whose ``name`` is the function, and which names the transforms of its ``Dataset``.
        lock_dir: Of the locks by which one process at a time makes the first call.

    Raises:
        SpecError: If the function or a transform cannot be imported.
        DataError: If it raises, or returns something of another form.
    """
    transform = load_transform("data.transform", config.transform)
    validation_transform = load_transform("data.validation_transform", config.validation_transform)
    reference, task = config.name, config.task
    function = load_reference(reference)

    def call() -> Any:
        try:
            return function(**copy.deepcopy(dict(config.params)))
        except (Exception, SystemExit) as exc:  # a script's main function may call sys.exit
            raise DataError(f"{reference} raised {type(exc).__name__}: {exc}") from exc

    loaded = call_in_turn(call, reference=reference, params=config.params, folder=lock_dir)
    if not isinstance(loaded, tuple) or len(loaded) not in (2, 3):
        raise DataError(f"{reference} returned {describe(loaded)}; {_WANTED}")
    train = _training_rows(loaded[0], task, transform, f"{reference}: train")
    keys = {"transform": transform, "validation_transform": validation_transform}
    given = [key for key, value in keys.items() if value is not None]
    if given and not isinstance(train, DatasetRows):
        raise DataError(
            f"data.{given[0]}: changes the items of a Dataset, and {reference} returns tensors; "
            "return a Dataset, or take what train changes on the device, such as train.random_crop"
        )
    if len(loaded) == 2 and not given:
        return _remarked(train, loaded[0], reference)
    held_out = loaded[1] if len(loaded) == 3 else loaded[0]
    place = f"{reference}: validation"
    validation = _split_rows(held_out, task, validation_transform, place)
    if len(loaded) == 3:
        return _join(train, validation, place)
    _check_alike(train, validation, place)
    assert isinstance(train, DatasetRows)
    assert isinstance(validation, DatasetRows)
    return replace(train, held_out=validation.dataset)


def _remarked(
    rows: TensorRows | DatasetRows, train: object, reference: str
) -> TensorRows | DatasetRows:
    """With what is to say of a Dataset that changes its rows by chance, on both sides."""
    if not isinstance(rows, DatasetRows) or not (name := drawing_transform(train)):
        return rows
    remark = (
        f"{reference}: its Dataset changes rows by {name}, those that are held out too, so that "
        "the metrics are of changed rows; name what is for training as data.transform and the "
        "rest as data.validation_transform, or return (train, validation, test)"
    )
    return replace(rows, remark=remark)


def _training_rows(
    split: object, task: Task | None, transform: Transform | None, place: str
) -> TensorRows | DatasetRows:
    rows = _split_rows(split, task, transform, place)
    if bool((rows.targets == rows.targets[0]).all()):
        raise DataError(
            f"{place}: each row has the target {rows.targets[0].tolist()}, so there is nothing to "
            "learn; return targets that differ"
        )
    return rows


def _split_rows(
    split: object, task: Task | None, transform: Transform | None, place: str
) -> TensorRows | DatasetRows:
    try:
        return _rows(split, task, transform)
    except DataError as exc:
        raise DataError(f"{place}: {exc}") from exc
    except Exception as exc:  # of the user's Dataset
        raise DataError(f"{place}: raised {type(exc).__name__}: {exc}") from exc


def _join(
    train: TensorRows | DatasetRows, validation: TensorRows | DatasetRows, place: str
) -> TensorRows | DatasetRows:
    """Both as one, with marks on the rows that are held out."""
    _check_alike(train, validation, place)
    targets = torch.cat([train.targets, validation.targets])
    marks = torch.arange(len(targets)) >= len(train.targets)
    if isinstance(train, TensorRows) and isinstance(validation, TensorRows):
        joined = _tensor_rows(torch.cat([train.inputs, validation.inputs]), targets, train.task)
        return replace(joined, marks=marks.int())
    if isinstance(train, DatasetRows) and isinstance(validation, DatasetRows):
        dataset = JoinedRows(train.dataset, validation.dataset, targets, train.task)
        digest = content_digest(targets)
        return replace(train, dataset=dataset, targets=targets, digest=digest, marks=marks.int())
    raise DataError(f"{place}: wanted are two pairs of tensors, or two of torch's Datasets")


def _check_alike(
    train: TensorRows | DatasetRows, validation: TensorRows | DatasetRows, place: str
) -> None:
    forms = [
        (rows.input_dtype, list(rows.input_shape), rows.task, list(rows.targets.shape[1:]))
        for rows in (train, validation)
    ]
    if forms[0] != forms[1]:
        ours, theirs = (" ".join(map(str, form)) for form in forms)
        raise DataError(f"{place}: is {theirs}, and train {ours}; wanted is one form for both")


def _rows(
    train: object, task: Task | None, transform: Transform | None
) -> TensorRows | DatasetRows:
    if isinstance(train, TensorDataset) and transform is None:
        train = train.tensors
    if isinstance(train, Dataset):
        return _dataset_rows(train, task, transform)
    if isinstance(train, tuple) and len(train) == 2:
        inputs, targets = train
        if isinstance(inputs, Tensor) and isinstance(targets, Tensor):
            return _tensor_rows(inputs, targets, task)
    raise DataError(f"got {describe(train)}; {_WANTED}")


def _tensor_rows(inputs: Tensor, targets: Tensor, task: Task | None) -> TensorRows:
    targets, task = read_targets(targets, task)
    if inputs.ndim == 0 or len(inputs) != len(targets):
        raise DataError(
            f"inputs {tuple(inputs.shape)} and targets {tuple(targets.shape)} have different "
            "numbers of rows; wanted are [N, ...] and [N]"
        )
    check_sides(inputs.shape[1:])
    inputs = inputs.detach().cpu().contiguous()
    inputs = inputs.to(batch_dtype(inputs))
    if inputs.dtype == torch.uint8 and are_channels_last(inputs.shape[1:]):
        raise DataError(
            f"inputs {tuple(inputs.shape)} look like images with their channels last; wanted are "
            "[N, C, H, W], as each channel is normalised: inputs.permute(0, 3, 1, 2)"
        )
    sums = ChannelSums.of(inputs.numpy()) if inputs.dtype == torch.uint8 else None
    return TensorRows(inputs, targets, content_digest(inputs, targets), sums, task)


def _dataset_rows(
    dataset: "Dataset[Any]", stated: Task | None, transform: Transform | None
) -> DatasetRows:
    if not isinstance(dataset, Sized):
        raise DataError(
            f"{type(dataset).__name__} has no length; wanted is a Dataset with __len__ and "
            "__getitem__, as rows are split and shuffled by their index"
        )
    if len(dataset) == 0:
        raise DataError(f"{type(dataset).__name__} is empty; wanted is at least one row per class")
    rows = AlikeRows(dataset, transform)
    targets, task = read_targets(dataset_targets(dataset, rows), stated)
    rows.settle(targets, task)
    digest = content_digest(targets)
    return DatasetRows(rows, targets, digest, rows.input_shape, rows.input_dtype, task)
