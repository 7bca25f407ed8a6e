import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.config.names import FALLBACK_SUFFIX
from sweeper.config.settings import DataConfig
from sweeper.data.batches import LoaderSplit, ResidentSplit, Split
from sweeper.data.built_in.sources import fallback
from sweeper.data.dataset import TrialData, load_data
from sweeper.data.order import Shuffle
from sweeper.errors import DataError
from tests.support.data_files import IMAGES, LABELS, write_mnist

CPU = torch.device("cpu")
calls: list[dict[str, Any]] = []
#: Data of which each call notes whether they are still held.
watched: list[weakref.ref[TrialData]] = []


def load_mine(**params: Any) -> object:
    """The same rows as the MNIST files, or float rows that make a Dataset's worth."""
    calls.append({**params, "watched": [each() for each in watched]} if watched else params)
    inputs = torch.from_numpy(IMAGES).unsqueeze(1) + params.get("add", 0)
    targets = torch.from_numpy(LABELS)
    if params.get("single"):
        return (inputs[:3], targets[:3]), None
    if params.get("dataset"):
        return Rows(inputs.float(), targets.long()), None
    return (inputs, targets), None


class Rows(torch.utils.data.Dataset[object]):
    def __init__(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> object:
        return self.inputs[row], int(self.targets[row])


@pytest.fixture
def mnist(tmp_path: Path) -> DataConfig:
    write_mnist(tmp_path)
    return DataConfig(name="mnist", root=str(tmp_path), validation=0.25)


@pytest.fixture
def mine() -> DataConfig:
    calls.clear()
    watched.clear()
    return DataConfig(name=f"{__name__}:load_mine", validation=0.25)


def load(
    config: DataConfig,
    tmp_path: Path,
    seed: int = 0,
    *,
    label: str | None = None,
    resident_bytes: int = 2**30,
) -> TrialData:
    return load_data(
        config,
        cache_dir=tmp_path / "cache",
        seed=seed,
        device=CPU,
        resident_bytes=resident_bytes,
        label=label,
    )


def rows_of(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = zip(*split.batches(5), strict=True)
    return torch.cat(inputs), torch.cat(targets)


def row_numbers(data: TrialData, split: Split) -> list[int]:
    """Which rows of the images these are, by their first pixel."""
    pixels = rows_of(split)[0][:, 0, 0, 0]
    if data.info.std:
        pixels = (pixels * data.info.std[0] + data.info.mean[0]) * 255
    return [int(pixel) // 16 for pixel in pixels.round()]


def test_info_describes_both_splits(mnist: DataConfig, tmp_path: Path) -> None:
    data = load(mnist, tmp_path)
    info = data.info
    assert (info.name, info.input_shape, info.n_outputs) == ("mnist", (1, 4, 4), 3)
    assert (info.n_train, info.n_validation) == (9, 3)
    assert (data.train.n_rows, data.validation.n_rows) == (9, 3)
    assert sorted(rows_of(data.validation)[1].tolist()) == [0, 1, 2]
    assert len(info.fingerprint) == 16
    assert int(info.fingerprint, 16) >= 0


def test_classes_have_the_names_that_their_data_set_gives_them(tmp_path: Path) -> None:
    write_mnist(tmp_path).parent.rename(tmp_path / "FashionMNIST")
    data = load(DataConfig(name="fashion_mnist", root=str(tmp_path), validation=0.25), tmp_path)
    assert data.preprocessing is not None
    assert data.preprocessing.strings["outputs"] == ["T-shirt/top", "Trouser", "Pullover"]


def test_moments_are_those_of_the_training_rows(mnist: DataConfig, tmp_path: Path) -> None:
    data = load(mnist, tmp_path)
    train, _ = rows_of(data.train)
    kept = row_numbers(data, data.train)
    assert len(set(kept)) == 9
    chosen = IMAGES[kept] / 255
    assert data.info.mean == (pytest.approx(chosen.mean(), abs=1e-12),)
    assert data.info.std == (pytest.approx(chosen.std(), abs=1e-12),)
    torch.testing.assert_close(train.mean(), torch.tensor(0.0), rtol=0, atol=1e-6)
    torch.testing.assert_close(train.std(correction=0), torch.tensor(1.0), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("params", "resident_bytes"), [({}, 2**30), ({}, 0), ({"dataset": True}, 2**30)]
)
def test_each_row_is_on_one_side_alone_however_it_comes(
    mine: DataConfig, tmp_path: Path, params: dict[str, bool], resident_bytes: int
) -> None:
    data = load(replace(mine, params=params), tmp_path, resident_bytes=resident_bytes)
    train, validation = row_numbers(data, data.train), row_numbers(data, data.validation)
    assert (len(train), len(validation)) == (9, 3)
    assert sorted(train + validation) == list(range(12))


def test_the_seed_makes_the_split_and_the_fingerprint(mnist: DataConfig, tmp_path: Path) -> None:
    prints = [load(mnist, tmp_path, seed=seed).info.fingerprint for seed in (0, 1, 0)]
    assert prints[0] == prints[2] != prints[1]


def test_equal_data_have_equal_fingerprints_wherever_they_come_from(
    mnist: DataConfig, mine: DataConfig, tmp_path: Path
) -> None:
    built_in = load(mnist, tmp_path)
    own = load(mine, tmp_path)
    assert own.info == replace(built_in.info, name=mine.name, preprocessing="")
    changed = load(replace(mine, params={"add": 1}), tmp_path)
    assert changed.info.fingerprint != own.info.fingerprint


def test_the_batch_size_rebuilds_nothing(mnist: DataConfig, tmp_path: Path) -> None:
    data = load(mnist, tmp_path)
    assert load(replace(mnist, batch_size=7), tmp_path) is data
    assert load(replace(mnist, validation=0.5), tmp_path) is not data


def test_a_users_function_is_called_once_for_consecutive_trials(
    mine: DataConfig, tmp_path: Path
) -> None:
    first = replace(mine, params={"add": 2})
    for batch_size in (8, 16, 32):
        load(replace(first, batch_size=batch_size), tmp_path)
    assert calls == [{"add": 2}]
    load(mine, tmp_path)
    assert calls == [{"add": 2}, {}]


def test_the_data_of_earlier_trials_are_gone_before_others_are_loaded(
    mine: DataConfig, tmp_path: Path
) -> None:
    earlier = weakref.ref(load(mine, tmp_path))
    assert earlier() is not None
    watched.append(earlier)
    load(replace(mine, params={"add": 1}), tmp_path)
    assert calls[-1] == {"add": 1, "watched": [None]}


def test_a_dataset_goes_through_a_loader(mine: DataConfig, tmp_path: Path) -> None:
    data = load(replace(mine, params={"dataset": True}), tmp_path)
    assert isinstance(data.train, LoaderSplit)
    assert (data.info.mean, data.info.std) == ((), ())
    assert (data.info.input_shape, data.info.n_outputs) == ((1, 4, 4), 3)
    inputs, targets = rows_of(data.train)
    assert torch.equal((inputs[:, 0, 0, 0] / 16).long() % 3, targets)


def test_big_tensors_go_through_a_loader_with_the_same_result(
    mnist: DataConfig, tmp_path: Path
) -> None:
    small = load(mnist, tmp_path)
    big = load(mnist, tmp_path, resident_bytes=191)
    assert isinstance(small.train, ResidentSplit)
    assert isinstance(big.train, LoaderSplit)
    assert big.info == small.info
    train: tuple[Split, Split] = (small.train, big.train)
    for seed in (3, 4):
        shuffles = (Shuffle(seed) for _ in range(2))
        splits = zip(train, shuffles, strict=True)
        one, other = (list(split.batches(4, shuffle=shuffle)) for split, shuffle in splits)
        assert len(one) == len(other) == 2
        for (inputs, targets), (other_inputs, other_targets) in zip(one, other, strict=True):
            assert torch.equal(inputs, other_inputs)
            assert torch.equal(targets, other_targets)


def test_both_splits_read_the_mapped_file(tmp_path: Path) -> None:
    load(DataConfig(name="digits"), tmp_path)
    (file,) = (tmp_path / "cache").glob("digits-*/inputs.bin")
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not list its memory maps")
    assert maps.read_text().count(str(file)) == 1


def test_the_label_names_a_fallback(tmp_path: Path) -> None:
    wanted = DataConfig(name="mnist", fallback="digits")
    data = load(fallback(wanted), tmp_path, label=wanted.name + FALLBACK_SUFFIX)
    assert data.info.name == "mnist-on-digits"
    assert data.info.input_shape == (1, 28, 28)
    assert (data.info.n_train, data.info.n_validation) == (1617, 180)


def test_too_few_rows_to_split_is_told(mine: DataConfig, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(replace(mine, params={"single": True}), tmp_path)
    assert str(caught.value) == (
        f"data.validation: 0.25 of the 3 rows of {mine.name} leaves 3 for training and 0 for "
        "validation; both need at least one, and a class of a single row is trained on: bring "
        "more rows of each class, or choose another share"
    )


@pytest.mark.parametrize("dataset", [False, True])
@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 1, 2], ""),
        (
            [3, 5, 8],
            "targets go from 3 to 8, which makes 9 classes; no row has 0, 1, 2, 4, 6, ...",
        ),
        ([0, 1, 3], "targets go from 0 to 3, which makes 4 classes; no row has 2. If"),
    ],
)
def test_classes_without_a_row_are_remarked_on(
    tmp_path: Path, dataset: bool, labels: list[int], says: str
) -> None:
    config = DataConfig(
        name=f"{__name__}:load_labels",
        validation=0.5,
        params={"labels": labels, "dataset": dataset},
    )
    remark = load(config, tmp_path).remark
    assert remark.startswith(f"{config.name}: {says}" if says else "")
    assert bool(remark) == bool(says)


def load_labels(labels: list[int], *, dataset: bool) -> object:
    targets = torch.tensor(labels * 4)
    inputs = torch.rand(len(targets), 2)
    return (Rows(inputs, targets) if dataset else (inputs, targets)), None
