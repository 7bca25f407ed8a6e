"""What a trial trains and validates on, put together from its configuration."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeGuard, TypeVar

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from sweeper.config.references import is_reference
from sweeper.config.settings import DataConfig
from sweeper.data.batches import LoaderSplit, Normalisation, ResidentSplit, Split
from sweeper.data.cache import open_cache
from sweeper.data.channels import ChannelSums
from sweeper.data.custom import load_custom
from sweeper.data.fingerprint import split_fingerprint
from sweeper.data.partition import stratified_split
from sweeper.data.rows import DatasetRows, TensorRows, map_rows
from sweeper.data.targets import count_outputs, count_rows, read_targets, strata
from sweeper.errors import DataError
from sweeper.trial import DataInfo

Value = TypeVar("Value")
#: Classes without a row that are named.
_MOST_SHOWN = 5


@dataclass(frozen=True)
class TrialData:
    """The two splits of a trial and what they are.

    Attributes:
        counts: Training rows of each class, or with each label, int64 [n_outputs]; of a
            regression, or where nobody counted, [0].
        remark: What the user may not have meant; mostly empty.
    """

    info: DataInfo
    train: Split
    validation: Split
    counts: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    remark: str = ""


class _Latest(Generic[Value]):
    """The value of the latest key, so that consecutive trials on the same data share it."""

    def __init__(self) -> None:
        self._held: tuple[object, Value] | None = None

    def get(self, key: object, make: Callable[[], Value]) -> Value:
        if self._held is None or self._held[0] != key:
            self._held = None  # frees the memory of the old value before the new one takes its own
            self._held = key, make()
        return self._held[1]


_latest_rows: _Latest[TensorRows | DatasetRows] = _Latest()
_latest_data: _Latest[TrialData] = _Latest()


def load_data(
    config: DataConfig,
    *,
    cache_dir: Path,
    seed: int,
    device: torch.device,
    resident_bytes: int,
    label: str | None = None,
) -> TrialData:
    """The data of a trial; those of the previous call, if only the batch size differs.

    Args:
        config: What to load, and which share to hold out.
        cache_dir: As :func:`~sweeper.data.cache.prepare_data` filled it; it is called if need be.
        seed: Of the split into training and validation rows, in [0, 2**63).
        device: Where batches are yielded.
        resident_bytes: Inputs up to this size stay on the device, bigger ones go through a
            ``DataLoader``.
        label: Name in ``info``; None means ``config.name``.

    Raises:
        DataError: If the data are not to be had, of the wrong form, or too few to split.
        SpecError: If a user's function cannot be imported.
    """
    content = (config.name, config.root, config.task, dict(config.params))
    source = (*content, cache_dir, device, resident_bytes)
    name = label or config.name

    def make_rows() -> TensorRows | DatasetRows:
        rows = _load_rows(config, cache_dir)
        if _is_resident(rows, resident_bytes):
            return replace(rows, inputs=rows.inputs.to(device))
        return rows

    def make_data() -> TrialData:
        rows = _latest_rows.get(source, make_rows)
        parts = _part(rows, share=config.validation, seed=seed, name=name)
        info = _info(rows, parts, name)
        train, validation = _splits(rows, parts, info, device=device, limit=resident_bytes)
        counts = count_rows(rows.targets[parts[0]], rows.task, info.n_outputs)
        return TrialData(info, train, validation, counts, _remark(rows, name))

    return _latest_data.get((source, config.validation, seed, name), make_data)


def _load_rows(config: DataConfig, cache_dir: Path) -> TensorRows | DatasetRows:
    if is_reference(config.name):
        return load_custom(config.name, config.params, config.task, cache_dir / "loading")
    rows = map_rows(open_cache(config, cache_dir))
    targets, task = read_targets(rows.targets, config.task)
    return replace(rows, targets=targets, task=task)


def _is_resident(rows: TensorRows | DatasetRows, limit: int) -> TypeGuard[TensorRows]:
    return isinstance(rows, TensorRows) and rows.inputs.nbytes <= limit


def _part(
    rows: TensorRows | DatasetRows, *, share: float, seed: int, name: str
) -> tuple[Tensor, Tensor]:
    groups = strata(rows.targets, rows.task)
    train, validation = stratified_split(groups, share=share, seed=seed)
    if len(train) == 0 or len(validation) == 0:
        raise DataError(
            f"data.validation: {share:g} of the {len(rows.targets)} rows of {name} leaves "
            f"{len(train)} for training and {len(validation)} for validation; both need at least "
            "one, and a class of a single row is trained on: bring more rows of each class, or "
            "choose another share"
        )
    return train, validation


def _info(rows: TensorRows | DatasetRows, parts: tuple[Tensor, Tensor], name: str) -> DataInfo:
    train, validation = parts
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    if isinstance(rows, TensorRows) and rows.sums is not None:
        held_out = rows.inputs.index_select(0, validation.to(rows.inputs.device))
        sums = rows.sums - ChannelSums.of(held_out.cpu().numpy())
        mean, std = sums.mean(), sums.std()
    target_mean, target_std = (
        _target_scale(rows.targets[train]) if rows.task == "regression" else ((), ())
    )
    return DataInfo(
        name=name,
        fingerprint=split_fingerprint(rows.digest, train, validation),
        input_shape=rows.input_shape,
        n_outputs=count_outputs(rows.targets, rows.task),
        n_train=len(train),
        n_validation=len(validation),
        mean=mean,
        std=std,
        input_dtype=str(rows.input_dtype).removeprefix("torch."),
        task=rows.task,
        target_mean=target_mean,
        target_std=target_std,
    )


def _target_scale(targets: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each column of some targets; 1 for a constant one."""
    std, mean = torch.std_mean(targets.double(), dim=0, correction=0)
    return tuple(mean.tolist()), tuple(torch.where(std > 0, std, 1.0).tolist())


def _remark(rows: TensorRows | DatasetRows, name: str) -> str:
    """Of classes that no row has: labels from 3 to 8 are nine classes."""
    if rows.task != "classification":
        return ""
    targets = rows.targets
    empty = (torch.bincount(targets) == 0).nonzero().flatten().tolist()
    if not empty:
        return ""
    shown = ", ".join(map(str, empty[:_MOST_SHOWN])) + ", ..." * (len(empty) > _MOST_SHOWN)
    return (
        f"{name}: targets go from {int(targets.min())} to {int(targets.max())}, which makes "
        f"{int(targets.max()) + 1} classes; no row has {shown}. If that is not meant, number the "
        "classes from 0 on, without gaps"
    )


def _splits(
    rows: TensorRows | DatasetRows,
    parts: tuple[Tensor, Tensor],
    info: DataInfo,
    *,
    device: torch.device,
    limit: int,
) -> tuple[Split, Split]:
    train, validation = parts
    normalise = (
        Normalisation(info.mean, info.std, input_shape=info.input_shape, device=device)
        if info.mean
        else None
    )
    if _is_resident(rows, limit):
        targets = rows.targets.to(device)
        return (
            ResidentSplit(rows.inputs, targets, train.to(device), normalise),
            ResidentSplit(rows.inputs, targets, validation.to(device), normalise),
        )
    dataset = (
        TensorDataset(rows.inputs, rows.targets) if isinstance(rows, TensorRows) else rows.dataset
    )
    return (
        LoaderSplit(dataset, train, normalise, device=device),
        LoaderSplit(dataset, validation, normalise, device=device),
    )
