"""What a trial trains and validates on, put together from its configuration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from sweeper.config.holdout import DEFAULT_SHARE
from sweeper.config.references import is_reference
from sweeper.config.settings import DataConfig
from sweeper.data.batches import LoaderSplit, Prepare, ResidentSplit, Split
from sweeper.data.cache import open_cache
from sweeper.data.fingerprint import content_digest, split_fingerprint
from sweeper.data.kinds import KINDS, label_of
from sweeper.data.labelled.labels import describe_labels, remark_on_labels
from sweeper.data.lengths import frame_lengths, token_lengths
from sweeper.data.own.load import load_custom
from sweeper.data.partition import describe_groups, part_rows
from sweeper.data.preprocessing import Preprocessing
from sweeper.data.rows import DatasetRows, Fitted, Rows, TensorRows
from sweeper.data.scale import FrameScale, Normalisation
from sweeper.data.targets import count_outputs, count_rows, naive_mark
from sweeper.trial import MOST_NAMES, DataInfo

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
        preprocessing: What makes inputs of the data as a person has them, where that is known.
    """

    info: DataInfo
    train: Split
    validation: Split
    counts: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    remark: str = ""
    inferred: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None


class _Latest:
    """The data of the latest key, so that consecutive trials on the same share them."""

    def __init__(self) -> None:
        self._held: tuple[object, TrialData] | None = None

    def get(self, key: object, load: Callable[[], TrialData]) -> TrialData:
        if self._held is None or self._held[0] != key:
            self._held = None  # frees their memory before the new ones take theirs
            self._held = key, load()
        return self._held[1]


_latest = _Latest()


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
    name = label or label_of(config)

    def load() -> TrialData:
        rows = _load_rows(config, cache_dir)
        parts = part_rows(
            rows.targets, rows.task, config.validation, marks=rows.marks, seed=seed, name=name
        )
        data = _fitted_data(rows.fit(*parts), parts, name, device=device, limit=resident_bytes)
        own = _remark_on_share(rows, config, name)
        groups = describe_groups(rows.marks, config.validation, parts)
        return replace(data, remark=data.remark or own, inferred=(*data.inferred, *groups))

    any_size = replace(config, batch_size=1)
    return _latest.get((any_size, cache_dir, seed, device, resident_bytes, name), load)


def _load_rows(config: DataConfig, cache_dir: Path) -> Rows:
    if is_reference(config.name):
        return load_custom(config, cache_dir / "loading")
    return KINDS[config.name].map_rows(open_cache(config, cache_dir), config)


def _fitted_data(
    fitted: Fitted, parts: tuple[Tensor, Tensor], name: str, *, device: torch.device, limit: int
) -> TrialData:
    preprocessing, samples = _with_outputs(fitted), fitted.samples
    info = _info(fitted, parts, name)
    if preprocessing is not None:
        info = replace(info, preprocessing=preprocessing.digest)
    train, validation = _splits(fitted, parts, info, device=device, limit=limit)
    counts = count_rows(samples.targets[parts[0]], samples.task, info.n_outputs)
    remark = _remark(samples, name)
    inferred: tuple[str, ...] = ()
    if fitted.labels is not None:
        n_rows = count_rows(samples.targets, samples.task, info.n_outputs).tolist()
        remark = remark or remark_on_labels(fitted.labels, n_rows, name)
        target = describe_labels(fitted.labels, n_rows, info)
        inferred = (f"{name}: {fitted.inferred}", target)
    return TrialData(info, train, validation, counts, remark, inferred, preprocessing)


def _with_outputs(fitted: Fitted) -> Preprocessing | None:
    """What is kept for served models, with the names of what they answer."""
    kept, labels = fitted.preprocessing, fitted.labels
    if kept is None or labels is None:
        return kept
    return replace(kept, strings={**kept.strings, "outputs": labels.classes or labels.columns})


def _info(fitted: Fitted, parts: tuple[Tensor, Tensor], name: str) -> DataInfo:
    samples, (train, validation) = fitted.samples, parts
    target_mean, target_std = (
        _target_scale(samples.targets[train]) if samples.task == "regression" else ((), ())
    )
    classes = fitted.labels.classes if fitted.labels else ()
    dtype = torch.int64 if fitted.tokens else samples.input_dtype
    return DataInfo(
        name=name,
        fingerprint=split_fingerprint(samples.digest, train, validation),
        input_shape=samples.input_shape,
        n_outputs=count_outputs(samples.targets, samples.task),
        n_train=len(train),
        n_validation=len(validation),
        mean=fitted.mean,
        std=fitted.std,
        input_dtype=str(dtype).removeprefix("torch."),
        task=samples.task,
        target_mean=target_mean,
        target_std=target_std,
        features=fitted.features,
        classes=classes if len(classes) <= MOST_NAMES else (),
        naive=naive_mark(samples.targets, samples.task, parts),
        tokens=fitted.tokens,
        frames=fitted.frames,
        source=_source(fitted, parts),
    )


def _source(fitted: Fitted, parts: tuple[Tensor, Tensor]) -> str:
    if not fitted.source:
        return ""
    classes = fitted.labels.classes if fitted.labels else ()
    targets = content_digest(fitted.samples.targets)
    digest = sha256(repr((fitted.source, targets, classes)).encode()).hexdigest()
    return split_fingerprint(digest, *parts)


def _target_scale(targets: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each column of some targets; 1 for a constant one."""
    std, mean = torch.std_mean(targets.double(), dim=0, correction=0)
    return tuple(mean.tolist()), tuple(torch.where(std > 0, std, 1.0).tolist())


def _remark_on_share(rows: Rows, config: DataConfig, name: str) -> str:
    """Of a share that is not looked at."""
    is_looked_at = rows.marks is None or not isinstance(config.validation, float)
    if is_looked_at or config.validation == DEFAULT_SHARE:
        return ""
    return f"{name} brings its own validation rows, so data.validation is not looked at; drop it"


def _remark(rows: TensorRows | DatasetRows, name: str) -> str:
    """Of what its Dataset does, or of classes that no row has: labels from 3 to 8 are nine."""
    if isinstance(rows, DatasetRows) and rows.remark:
        return rows.remark
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
    fitted: Fitted,
    parts: tuple[Tensor, Tensor],
    info: DataInfo,
    *,
    device: torch.device,
    limit: int,
) -> Sequence[Split]:
    samples, prepare = fitted.samples, _prepare(info, device)
    if not isinstance(samples, TensorRows):
        datasets = samples.dataset, samples.held_out or samples.dataset
        return [
            LoaderSplit(dataset, part, prepare, device=device)
            for dataset, part in zip(datasets, parts, strict=True)
        ]
    all_lengths = _lengths(fitted, samples.inputs)
    lengths = [None if all_lengths is None else all_lengths[part] for part in parts]
    if samples.inputs.nbytes <= limit:
        inputs, targets = samples.inputs.to(device), samples.targets.to(device)
        return [
            ResidentSplit(inputs, targets, part.to(device), prepare, n)
            for part, n in zip(parts, lengths, strict=True)
        ]
    rows = TensorDataset(samples.inputs, samples.targets)
    return [
        LoaderSplit(rows, part, prepare, device=device, lengths=n)
        for part, n in zip(parts, lengths, strict=True)
    ]


def _prepare(info: DataInfo, device: torch.device) -> Prepare | None:
    if info.frames and info.mean:
        return FrameScale(info.mean, info.std, device=device)
    if info.mean:
        return Normalisation(info.mean, info.std, input_shape=info.input_shape, device=device)
    return Tensor.long if info.tokens else None


def _lengths(fitted: Fitted, inputs: Tensor) -> Tensor | None:
    """Of each row; None where all are alike."""
    if fitted.tokens:
        return token_lengths(inputs)
    return frame_lengths(inputs) if fitted.frames else None
