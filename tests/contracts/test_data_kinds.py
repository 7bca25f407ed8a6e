"""Every kind of data with rows of its own x every way to hold some of them out.

The target of a row is its number, so that a batch says which rows it holds.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeper.config.holdout import WITH_COLUMNS
from sweeper.config.settings import DataConfig
from sweeper.data.batches import Split
from sweeper.data.dataset import TrialData
from sweeper.data.order import Shuffle
from tests.support import loaded_data
from tests.support.picture_files import picture
from tests.support.table_files import write_table
from tests.support.wav_files import tone, write_wav

N = 24
PARTS = ["train", "train", "val", "train", "test", "train"] * 4


def text(folder: Path, row: int) -> str:
    return " ".join(["word"] * (1 + row % 5))


def clip(folder: Path, row: int) -> str:
    write_wav(folder / f"{row}.wav", tone(300 + row, 0.05 + 0.01 * (row % 5)))
    return f"{row}.wav"


def image(folder: Path, row: int) -> str:
    picture("cat", row).save(folder / f"{row}.png")
    return f"{row}.png"


#: What makes the input of a row, and the keys of ``data`` that a kind needs beside the others.
KINDS: Mapping[str, tuple[Callable[[Path, int], Any], Mapping[str, Any]]] = {
    "table": (lambda _, row: row / 2, {}),
    "text": (text, {"column": "input"}),
    "audio": (clip, {"column": "input", "sample_rate": 8000, "max_seconds": 1.0, "n_mels": 8}),
    "images": (image, {"column": "input"}),
}


def written(kind: str, path: Path, rows: Sequence[int]) -> Path:
    make, _ = KINDS[kind]
    columns = {
        "input": [make(path.parent, row) for row in rows],
        "number": rows,
        "group": [row // 4 for row in rows],
        "part": [PARTS[row % N] for row in rows],
    }
    return write_table(path, columns)


def load(
    kind: str,
    folder: Path,
    validation: Any,
    *,
    seed: int = 0,
    resident_bytes: int = 2**30,
    **others: Any,
) -> TrialData:
    folder.mkdir(exist_ok=True)
    path = written(kind, folder / "rows.csv", range(N))
    params = {"path": str(path), "target": "number", **KINDS[kind][1], **others}
    config = DataConfig(name=kind, task="regression", validation=validation, params=params)
    return loaded_data.load(config, folder, seed=seed, resident_bytes=resident_bytes)


def numbers(split: Split, shuffle: Shuffle | None = None) -> list[int]:
    """Of the rows, each as often as it occurs."""
    batches = split.batches(5, shuffle=shuffle)
    return sorted(int(number) for _, targets in batches for number in targets[:, 0])


def test_every_kind_whose_rows_have_columns_is_here() -> None:
    assert set(KINDS) == set(WITH_COLUMNS)


of_every_kind = pytest.mark.parametrize("kind", KINDS)


@of_every_kind
@pytest.mark.parametrize("resident_bytes", [0, 2**30], ids=["loader", "resident"])
def test_a_share_is_held_out(tmp_path: Path, kind: str, resident_bytes: int) -> None:
    data = load(kind, tmp_path, 0.25, resident_bytes=resident_bytes)
    train, validation = numbers(data.train), numbers(data.validation)
    assert len(validation) == 6
    assert sorted(train + validation) == list(range(N))
    shuffled = numbers(data.train, Shuffle(1))
    assert shuffled == train
    other = load(kind, tmp_path, 0.25, seed=1, resident_bytes=resident_bytes)
    assert numbers(other.validation) != validation


@of_every_kind
def test_no_group_stands_on_both_sides(tmp_path: Path, kind: str) -> None:
    data = load(kind, tmp_path, {"by": "group", "share": 0.3})
    train, validation = numbers(data.train), numbers(data.validation)
    assert sorted(train + validation) == list(range(N))
    assert not {row // 4 for row in train} & {row // 4 for row in validation}
    assert len(validation) == 8
    assert "parted by group: 4 groups to train on, 2 to validate on" in data.inferred


@of_every_kind
def test_a_column_says_which_rows_and_those_of_the_test_are_on_neither_side(
    tmp_path: Path, kind: str
) -> None:
    data = load(kind, tmp_path, {"column": "part", "value": "val", "test": "test"})
    assert numbers(data.train) == [row for row in range(N) if PARTS[row] == "train"]
    assert numbers(data.validation) == [row for row in range(N) if PARTS[row] == "val"]


@of_every_kind
def test_a_second_file_holds_the_validation_rows(tmp_path: Path, kind: str) -> None:
    (tmp_path / "more").mkdir()
    second = written(kind, tmp_path / "more" / "rows.csv", range(100, 107))
    data = load(kind, tmp_path, {"path": str(second)})
    assert numbers(data.train) == list(range(N))
    assert numbers(data.validation) == list(range(100, 107))


@pytest.mark.parametrize(
    ("kind", "searched"),
    [
        ("table", {"scale": "quantile"}),
        ("text", {"max_length": 2}),
        ("text", {"vocabulary": 1}),
        ("audio", {"n_mels": 4}),
        ("images", {"size": 8}),
    ],
)
def test_what_files_hold_is_told_apart_from_what_a_search_makes_of_it(
    tmp_path: Path, kind: str, searched: Mapping[str, Any]
) -> None:
    infos = [load(kind, tmp_path, 0.25, **params).info for params in ({}, searched)]
    assert infos[0].source == infos[1].source != ""
    assert load(kind, tmp_path, 0.25, target="group").info.source != infos[0].source


@of_every_kind
def test_inputs_that_are_replaced_are_others_though_the_targets_are_the_same(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(kind, tmp_path / "before", 0.25).info
    assert load(kind, tmp_path / "again", 0.25).info.source == before.source
    make, params = KINDS[kind]
    monkeypatch.setitem(KINDS, kind, (lambda folder, row: make(folder, N - row), params))
    assert load(kind, tmp_path / "after", 0.25).info.source != before.source
