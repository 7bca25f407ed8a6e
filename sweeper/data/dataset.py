"""What a trial trains and validates on, put together from its configuration."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeGuard, TypeVar

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from sweeper.config.holdout import DEFAULT_SHARE
from sweeper.config.references import is_reference
from sweeper.config.settings import DataConfig
from sweeper.data.batches import LoaderSplit, Normalisation, ResidentSplit, Split
from sweeper.data.cache import open_cache
from sweeper.data.channels import ChannelSums
from sweeper.data.custom import load_custom
from sweeper.data.fingerprint import split_fingerprint
from sweeper.data.partition import part_rows
from sweeper.data.rows import DatasetRows, TensorRows, map_rows
from sweeper.data.sources import TABLE, label_of
from sweeper.data.table_form import describe_table, remark_on_table
from sweeper.data.table_rows import TableRows, map_table
from sweeper.data.targets import count_outputs, count_rows, naive_mark, read_targets
from sweeper.trial import MOST_NAMES, DataInfo

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
        inferred: What was found out about the data, a line each.
    """

    info: DataInfo
    train: Split
    validation: Split
    counts: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    remark: str = ""
    inferred: tuple[str, ...] = ()


class _Latest(Generic[Value]):
    """The value of the latest key, so that consecutive trials on the same data share it."""

    def __init__(self) -> None:
        self._held: tuple[object, Value] | None = None

    def get(self, key: object, make: Callable[[], Value]) -> Value:
        if self._held is None or self._held[0] != key:
            self._held = None  # frees the memory of the old value before the new one takes its own
            self._held = key, make()
        return self._held[1]


_latest_rows: _Latest[TensorRows | DatasetRows | TableRows] = _Latest()
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
        config: What to load, and which rows to hold out.
        cache_dir: As :func:`~sweeper.data.cache.prepare_data` filled it; it is called if need be.
        seed: Of the split into training and validation rows, in [0, 2**63).
        device: Where batches are yielded.
        resident_bytes: Inputs up to this size stay on the device, bigger ones go through a
            ``DataLoader``.
        label: Name in ``info``; None means that of the data.

    Raises:
        DataError: If the data are not to be had, of the wrong form, or too few to split.
        SpecError: If a user's function cannot be imported.
    """
    content = (config.name, config.root, config.task, config.validation, dict(config.params))
    source = (*content, cache_dir, device, resident_bytes)
    name = label or label_of(config)

    def make_rows() -> TensorRows | DatasetRows | TableRows:
        rows = _load_rows(config, cache_dir)
        return rows if isinstance(rows, TableRows) else _settled(rows, device, resident_bytes)

    def make_data() -> TrialData:
        rows = _latest_rows.get(source, make_rows)
        parts = part_rows(
            rows.targets, rows.task, config.validation, marks=rows.marks, seed=seed, name=name
        )
        if isinstance(rows, TableRows):
            return _table_data(rows, config, parts, name, device=device, limit=resident_bytes)
        info = _info(rows, parts, name)
        data = _data(rows, parts, info, device=device, limit=resident_bytes)
        return replace(data, remark=_remark(rows, name) or _remark_on_share(rows, config, name))

    return _latest_data.get((source, seed, name), make_data)


def _table_data(
    table: TableRows,
    config: DataConfig,
    parts: tuple[Tensor, Tensor],
    name: str,
    *,
    device: torch.device,
    limit: int,
) -> TrialData:
    fitted, features = table.fit(parts[0], config.params.get("scale", "standard"))
    rows = _settled(fitted, device, limit)
    info = _info(rows, parts, name)
    classes = table.columns.classes if info.n_outputs <= MOST_NAMES else ()
    info = replace(info, features=features, classes=classes)
    n_rows = count_rows(table.targets, table.task, info.n_outputs).tolist()
    return replace(
        _data(rows, parts, info, device=device, limit=limit),
        remark=remark_on_table(table.columns, n_rows, name),
        inferred=describe_table(table.columns, n_rows, info),
    )


def _data(
    rows: TensorRows | DatasetRows,
    parts: tuple[Tensor, Tensor],
    info: DataInfo,
    *,
    device: torch.device,
    limit: int,
) -> TrialData:
    train, validation = _splits(rows, parts, info, device=device, limit=limit)
    counts = count_rows(rows.targets[parts[0]], rows.task, info.n_outputs)
    return TrialData(info, train, validation, counts)


def _settled(
    rows: TensorRows | DatasetRows, device: torch.device, limit: int
) -> TensorRows | DatasetRows:
    """With its inputs on the device if they are to stay there."""
    if _is_resident(rows, limit):
        return replace(rows, inputs=rows.inputs.to(device))
    return rows


def _load_rows(config: DataConfig, cache_dir: Path) -> TensorRows | DatasetRows | TableRows:
    if is_reference(config.name):
        return load_custom(config.name, config.params, config.task, cache_dir / "loading")
    if config.name == TABLE:
        return map_table(open_cache(config, cache_dir))
    rows = map_rows(open_cache(config, cache_dir))
    targets, task = read_targets(rows.targets, config.task)
    return replace(rows, targets=targets, task=task)


def _is_resident(rows: TensorRows | DatasetRows, limit: int) -> TypeGuard[TensorRows]:
    return isinstance(rows, TensorRows) and rows.inputs.nbytes <= limit


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
        naive=naive_mark(rows.targets, rows.task, parts),
    )


def _target_scale(targets: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each column of some targets; 1 for a constant one."""
    std, mean = torch.std_mean(targets.double(), dim=0, correction=0)
    return tuple(mean.tolist()), tuple(torch.where(std > 0, std, 1.0).tolist())


def _remark_on_share(rows: TensorRows | DatasetRows, config: DataConfig, name: str) -> str:
    """Of a share that is not looked at."""
    if rows.marks is None or config.validation == DEFAULT_SHARE:
        return ""
    return f"{name} brings its own validation rows, so data.validation is not looked at; drop it"


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
