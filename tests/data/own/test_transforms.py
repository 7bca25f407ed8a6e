"""What is done to the rows of a user's Dataset on either side."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Subset
from torchvision.transforms import v2

from sweeper.config.settings import DataConfig
from sweeper.data.dataset import TrialData, load_data
from sweeper.errors import DataError

N_ROWS = 20


class Pictures(Dataset[object]):
    """Grey pictures of four by four, as PIL gives them or as tensors; each says its row."""

    def __init__(self, transform: Callable[[Any], Any] | None = None, form: str = "pil") -> None:
        self.transform = transform
        self._form = form
        self.targets = [row % 2 for row in range(N_ROWS)]

    def __len__(self) -> int:
        return N_ROWS

    def __getitem__(self, row: int) -> tuple[object, int]:
        picture: Any = torch.full((1, 4, 4), float(row))
        if self._form == "pil":
            picture = Image.fromarray(np.full((4, 4), row, dtype=np.uint8))
        return self.transform(picture) if self.transform else picture, self.targets[row]


def load_pictures(form: str = "pil") -> object:
    return Pictures(form=form), None


def load_apart() -> object:
    return Pictures(), Pictures(), None


def load_numbers() -> object:
    return (torch.rand(N_ROWS, 3), torch.arange(N_ROWS) % 2), None


def load_flipped() -> object:
    flips = v2.Compose([v2.Identity(), v2.RandomApply([v2.Grayscale()])])
    return Subset(Pictures(flips, form="tensor"), range(N_ROWS)), None


def load_plain() -> object:
    return Pictures(v2.Normalize([0.0], [1.0]), form="tensor"), None


def load_flipped_apart() -> object:
    return Pictures(v2.RandomHorizontalFlip(), "tensor"), Pictures(form="tensor"), None


def as_tensor(picture: Image.Image) -> Tensor:
    tensor: Tensor = v2.functional.pil_to_tensor(picture).float()
    return tensor


def brighter(picture: Image.Image) -> Tensor:
    return as_tensor(picture) + 100


def smaller(picture: Image.Image) -> Tensor:
    return as_tensor(picture)[:, :3]


def load(folder: Path, function: str, **settings: Any) -> TrialData:
    return load_data(
        DataConfig(name=f"{__name__}:{function}", **settings),
        cache_dir=folder,
        seed=0,
        device=torch.device("cpu"),
        resident_bytes=0,
    )


def own(name: str) -> str:
    return f"{__name__}:{name}"


def values(data: TrialData) -> tuple[list[float], list[float]]:
    """The brightness of each row, to train on and held out."""
    train, held_out = (
        [value for inputs, _ in split.batches(8) for value in inputs[:, 0, 0, 0].tolist()]
        for split in (data.train, data.validation)
    )
    return train, held_out


@pytest.mark.parametrize("function", ["load_pictures", "load_apart"])
def test_each_side_has_a_transform_of_its_own(tmp_path: Path, function: str) -> None:
    transforms = {"transform": own("brighter"), "validation_transform": own("as_tensor")}
    train, held_out = values(load(tmp_path, function, **transforms))
    assert all(value >= 100 for value in train)
    assert all(value < N_ROWS for value in held_out)
    both = sorted([*(value - 100 for value in train), *held_out])
    assert both == sorted(list(range(N_ROWS)) * (2 if function == "load_apart" else 1))


def test_rows_that_are_held_out_are_left_alone_by_the_other_transform(tmp_path: Path) -> None:
    erase = "torchvision.transforms.v2:RandomErasing"  # a class, made without arguments
    form = {"params": {"form": "tensor"}}
    plain = values(load(tmp_path, "load_pictures", **form))
    torch.manual_seed(0)
    erased = load(tmp_path, "load_pictures", transform=erase, **form)
    assert values(erased)[1] == plain[1]
    torch.manual_seed(0)
    batches = [inputs for _ in range(5) for inputs, _ in erased.train.batches(8)]
    assert any(bool((inputs != inputs[:, :, :1, :1]).any()) for inputs in batches)


@pytest.mark.parametrize(
    ("function", "settings", "text"),
    [
        (
            "load_numbers",
            {"validation_transform": own("brighter")},
            "data.validation_transform: changes the items of a Dataset, and .*:load_numbers "
            "returns tensors; return a Dataset, or take what train changes on the device",
        ),
        (
            "load_pictures",
            {"transform": own("brighter"), "validation_transform": own("smaller")},
            r"load_pictures: validation: is torch.float32 \[1, 3, 4\] .*, and train .*\[1, 4, 4\]",
        ),
        (
            "load_pictures",
            {"transform": own("brighter")},
            "load_pictures: validation: the input of an item is a Image; wanted is a tensor",
        ),
        (
            "load_pictures",
            {"transform": "torchvision.transforms.v2:RandomCrop"},
            r"data.transform: torchvision.transforms.v2:RandomCrop cannot be made without "
            r"arguments \(.*'size'\); name a function",
        ),
        (
            "load_pictures",
            {"transform": "math:sqrt"},
            r"train: data.transform: math:sqrt raised TypeError: must be real number, not Image",
        ),
    ],
)
def test_a_transform_that_does_not_fit_is_refused(
    tmp_path: Path, function: str, settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(DataError, match=text):
        load(tmp_path, function, **settings)


def test_a_dataset_that_changes_both_sides_by_chance_is_remarked_on(tmp_path: Path) -> None:
    remark = load(tmp_path, "load_flipped").remark
    assert remark.startswith(
        f"{__name__}:load_flipped: its Dataset changes rows by RandomApply, those that are held "
        "out too, so"
    )
    assert load(tmp_path, "load_plain").remark == ""
    assert load(tmp_path, "load_flipped_apart").remark == ""
