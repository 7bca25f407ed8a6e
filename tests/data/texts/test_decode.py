"""Texts of every form x every kind of target x every way to hold out rows, and bad ones."""

import sys
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sweeper.config.settings import DataConfig
from sweeper.data.batches import Split
from sweeper.data.cache import open_cache, prepare_data
from sweeper.data.dataset import TrialData
from sweeper.data.texts.vocabulary import train_pairs
from sweeper.data.texts.words import split_words
from sweeper.errors import DataError
from sweeper.trial import Tokens
from tests.support.loaded_data import load, refusal
from tests.support.table_files import SUFFIXES, Columns, write_held_out, write_table

N = 48
TABLE: Columns = {
    # The number of each row as a word of its own, behind as many others as its length says.
    "text": [" ".join(["Ja,"] * (row % 4) + [f"row{row}"]) for row in range(N)],
    "kind": ["a", "b", "c"] * 16,
    "yes": [True, False] * 24,
    "price": [row / 4 + 0.125 for row in range(N)],
    "who": [f"p{row // 8}" for row in range(N)],
    "part": (["train"] * 4 + ["val", "test"]) * 8,
    "count": [row % 5 for row in range(N)],
}
TARGETS: Mapping[str, tuple[Any, str, int]] = {
    "words": ("kind", "classification", 3),
    "fractions": ("price", "regression", 1),
    "labels": (["yes"], "multilabel", 1),
}
HOLDOUTS: Mapping[str, Any] = {
    "share": 0.25,
    "group": {"by": "who", "share": 0.2},
    "column": {"column": "part", "value": "val", "test": "test"},
    "file": {"path": "second"},
}
needs_tokenizers = pytest.mark.skipif(
    find_spec("tokenizers") is None, reason="tokenizers is not installed"
)
COLUMN = {"column": "part", "value": "val"}


def config_of(path: Path, target: Any, validation: Any = 0.25, **others: Any) -> DataConfig:
    task = others.pop("task", None)
    params = {"path": str(path), "target": target, "column": "text", **others}
    return DataConfig(name="text", params=params, validation=validation, task=task)


def ids_of(split: Split) -> list[Tensor]:
    """Of each row without its padding."""
    return [row[row != 0] for inputs, _ in split.batches(5) for row in inputs]


def written(folder: Path, suffix: str, target: Any, validation: Any) -> DataConfig:
    first, holdout = write_held_out(folder, suffix, TABLE, validation)
    return config_of(first, target, holdout)


@pytest.mark.parametrize("holdout", HOLDOUTS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_form_gives_the_same_rows(tmp_path: Path, target: str, holdout: str) -> None:
    columns, task, n_outputs = TARGETS[target]
    found = [
        load(written(tmp_path, suffix, columns, HOLDOUTS[holdout]), tmp_path)
        for suffix in SUFFIXES
    ]
    info = found[0].info
    n_rows = {"share": (36, 12), "group": (40, 8), "column": (32, 8), "file": (48, 7)}[holdout]
    assert (info.n_train, info.n_validation) == n_rows
    assert (info.task, info.n_outputs) == (task, n_outputs)
    assert (info.input_shape, info.input_dtype) == ((7,), "int64")
    assert info.tokens is not None
    assert info.tokens.n_words == 2 + 2 + info.n_train  # "ja", ",", and each row's own
    for data in found:
        assert data.info == info
        for split, first in ((data.train, found[0].train), (data.validation, found[0].validation)):
            pairs = zip(ids_of(split), ids_of(first), strict=True)
            assert all(torch.equal(*pair) for pair in pairs)


def test_words_are_lower_case_and_punctuation_stands_alone() -> None:
    assert split_words("It's 3.5 km,\nno_one KNOWS; Straße…") == [
        "it", "'", "s", "3", ".", "5", "km", ",", "no_one", "knows", ";", "straße", "…",
    ]  # fmt: skip
    assert split_words(" \t\n") == []


def texts(folder: Path, rows: list[str], validation: list[str], **params: Any) -> TrialData:
    """Training and validation rows, which are two classes in turn."""
    table = {
        "text": rows + validation,
        "kind": ["a", "b"] * ((len(rows) + len(validation)) // 2),
        "part": ["train"] * len(rows) + ["val"] * len(validation),
    }
    place = folder / sha256(repr(table).encode()).hexdigest()
    place.mkdir(exist_ok=True)
    path = write_table(place / "t.csv", table)
    return load(config_of(path, "kind", COLUMN, **params), folder)


def test_the_most_frequent_word_comes_first_and_words_in_order_among_equals(
    tmp_path: Path,
) -> None:
    data = texts(tmp_path, ["so b so", "a c so b"], ["so d b", "e a"])
    assert data.info.tokens == Tokens(2 + 4)
    # so 3 times, b twice, a and c once.
    assert [row.tolist() for row in ids_of(data.validation)] == [[1, 4], [2, 1, 3]]
    ((first, _),) = data.train.batches(2)
    assert first.tolist() == [[2, 3, 2, 0], [4, 5, 2, 3]]


def test_a_small_vocabulary_keeps_the_most_frequent(tmp_path: Path) -> None:
    data = texts(tmp_path, ["so b so", "a c so b"], ["so d b", "e a"], vocabulary=2)
    assert data.info.tokens == Tokens(4)
    ((first, _),) = data.train.batches(2)
    assert first.tolist() == [[2, 3, 2, 0], [1, 1, 2, 3]]


@pytest.mark.parametrize("tokenizer", ["words", pytest.param("bpe", marks=needs_tokenizers)])
def test_what_is_fitted_does_not_see_validation_rows(tmp_path: Path, tokenizer: str) -> None:
    first, second = (
        texts(tmp_path, ["so b so", "a c so b"], held_out, tokenizer=tokenizer)
        for held_out in (["so d b", "e a"], ["c c c c c c", "zz zz zz zz"])
    )
    assert first.info.tokens == second.info.tokens
    pairs = zip(ids_of(first.train), ids_of(second.train), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_a_long_text_is_cut_and_that_is_told(tmp_path: Path) -> None:
    data = texts(tmp_path, ["a b c d", "a b c"], ["b", "d d d d d"], max_length=3)
    assert data.info.input_shape == (3,)
    assert sorted(len(row) for row in ids_of(data.train)) == [3, 3]
    assert data.inferred == (
        "t: texts of 3 words in the median (column text; the longest has 5 words), 0.5 of them "
        "cut at max_length 3; a vocabulary of 3 words, which lacks 0.75 of the validation rows' "
        "words",
        "target kind: classification, 2 classes (a in 2 rows, b in 2 rows); the commonest alone "
        "reaches val_accuracy 0.5",
    )


def test_no_text_is_longer_than_the_longest_of_all(tmp_path: Path) -> None:
    assert texts(tmp_path, ["a b", "c"], ["b", "a b c"]).info.input_shape == (3,)


@needs_tokenizers
def test_pairs_that_are_frequent_become_one(tmp_path: Path) -> None:
    rows = ["abab ab", "ab abab", "ab", "b a"]
    data = texts(tmp_path, rows, ["abab", "xab"], tokenizer="bpe", vocabulary=3)
    # a, b, and ab; x is in no training row.
    assert data.info.tokens == Tokens(5)
    a, b, ab = 2, 3, 4
    assert [row.tolist() for row in ids_of(data.validation)] == [[ab, ab], [1, ab]]
    found = [row.tolist() for row in ids_of(data.train)]
    assert found == [[ab], [b, a], [ab, ab, ab], [ab, ab, ab]]


@needs_tokenizers
def test_pairs_are_not_looked_for_in_a_word_that_is_none() -> None:
    words = ["ab", "x" * 10_001]
    tokenizer = train_pairs(words, np.array([[1, 2]] * 9, np.int32), np.arange(9), 40)
    assert set(tokenizer.get_vocab()) == {"[PAD]", "[UNK]", "a", "b", "ab"}


@needs_tokenizers
def test_parts_of_words_are_cut_at_the_length_too(tmp_path: Path) -> None:
    rows = ["abab ab", "ab abab", "ab", "b a"]
    data = texts(tmp_path, rows, ["abab ab ab", "b"], tokenizer="bpe", vocabulary=3, max_length=2)
    assert [row.tolist() for row in ids_of(data.validation)] == [[3], [4, 4]]
    assert data.inferred[0] == (
        "t: texts of 2 parts of words in the median (column text; the longest has 3 words), 0.5 "
        "of them cut at max_length 2; a vocabulary of 3 parts of words, which lacks 0 of the "
        "validation rows' parts of words"
    )


@needs_tokenizers
def test_parts_of_words_are_found_once_for_the_same_training_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def train_and_note(*args: Any) -> Any:
        trained.append(args[-1])
        return train_pairs(*args)

    monkeypatch.setattr("sweeper.data.texts.vocabulary.train_pairs", train_and_note)
    path = write_table(tmp_path / "t.csv", TABLE)

    def parts(size: int, holdout: float = 0.25) -> TrialData:
        config = config_of(path, "kind", holdout, tokenizer="bpe", vocabulary=size)
        return load(config, tmp_path)

    first, other, again = (parts(size) for size in (30, 20, 30))
    assert trained == [32, 22]
    assert again.info == first.info != other.info
    parts(30, holdout=0.5)
    assert trained == [32, 22, 32]
    pairs = zip(ids_of(again.train), ids_of(first.train), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@needs_tokenizers
def test_many_rows_are_joined_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [" ".join(["abc"] * (1 + row % 7)) + f" w{row % 5}" for row in range(40)]
    whole = texts(tmp_path, rows, ["abc w1", "w2"], tokenizer="bpe", vocabulary=9)
    monkeypatch.setattr("sweeper.data.texts.vocabulary._BLOCK_ROWS", 3)
    parted = texts(tmp_path, rows, ["abc w1", "w2"], tokenizer="bpe", vocabulary=9)
    assert parted.info == whole.info
    pairs = zip(ids_of(parted.train), ids_of(whole.train), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@needs_tokenizers
def test_without_its_package_a_tokenizer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(write_table(tmp_path / "t.csv", TABLE), "kind", tokenizer="bpe")
    load(config, tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataError) as caught:
        prepare_data(config, cache_dir=tmp_path / "cache")
    assert str(caught.value) == (
        "data.tokenizer: bpe needs the package tokenizers, which is not there: pip install "
        "'sweeper[text]', or take words"
    )


def test_the_files_of_a_folder_are_texts_of_the_class_that_they_lie_in(tmp_path: Path) -> None:
    for row, (text, kind) in enumerate(zip(TABLE["text"], TABLE["kind"], strict=True)):
        file = tmp_path / "texts" / kind / f"{row}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    params = {"path": str(tmp_path / "texts"), "target": "label"}
    data = load(DataConfig(name="text", params=params, validation=0.25), tmp_path)
    assert data.info.classes == ("a", "b", "c")
    assert (data.info.n_train, data.info.n_validation) == (36, 12)
    lengths = sorted(len(row) for split in (data.train, data.validation) for row in ids_of(split))
    assert lengths == sorted([1, 3, 5, 7] * 12)
    spoilt = tmp_path / "texts" / "b" / "1.txt"
    spoilt.write_bytes(b"\xff\xfe\xfa")
    config = DataConfig(name="text", params=params)
    assert refusal(config, tmp_path) == f"{spoilt}: not UTF-8 text; save it as UTF-8"
    spoilt.write_text(" \n")
    assert refusal(config, tmp_path) == (
        f"{tmp_path}/texts/b/1.txt: column 'file' holds no text; drop such rows"
    )
    params["column"] = "text"
    assert refusal(DataConfig(name="text", params=params), tmp_path) == (
        f"data.column: names a column of a file of rows, and {tmp_path}/texts is a folder, whose "
        "files are the texts; drop it"
    )


def test_texts_that_are_too_big_to_stay_come_through_a_loader(tmp_path: Path) -> None:
    config = config_of(write_table(tmp_path / "t.csv", TABLE), "kind")
    resident, loaded = load(config, tmp_path), load(config, tmp_path, resident_bytes=0)
    for split, other in ((resident.train, loaded.train), (resident.validation, loaded.validation)):
        batches = zip(split.batches(5), other.batches(5), strict=True)
        assert all(
            torch.equal(one, two) for pair in batches for one, two in zip(*pair, strict=True)
        )


@needs_tokenizers
def test_what_is_fitted_alone_reads_no_file_again(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)

    def folder(**params: Any) -> Path:
        return open_cache(config_of(path, "kind", **params), tmp_path / "cache").folder

    assert folder() == folder(tokenizer="bpe", vocabulary=7)
    assert folder() != folder(max_length=3)


def test_the_same_codes_of_other_words_are_other_data(tmp_path: Path) -> None:
    first, second = (
        texts(tmp_path, [f"{word} {word}", word], [word, word]) for word in ("ja", "no")
    )
    assert torch.equal(ids_of(first.train)[0], ids_of(second.train)[0])
    assert first.info.fingerprint != second.info.fingerprint


@pytest.mark.parametrize(
    ("changes", "others", "message"),
    [
        ({}, {"column": "txet"}, "data.column: {path} has no column 'txet'; did you mean 'text'?"),
        ({}, {"column": None},
         "data.column: must name the column of texts; {path} has text, kind, yes, price, who, "
         "part, count"),
        ({}, {"column": "kind"},
         "data.column: column 'kind' is named by data.target too; name it once"),
        ({}, {"column": "count"},
         "data.column: column 'count' holds numbers, such as 0, and no text; name the column of "
         "the texts"),
        ({"text": ["ja", None, *["no"] * (N - 2)]}, {},
         "{path}: row 2: column 'text' holds no text; drop such rows"),
        ({"text": ["ja", "  ", *["no"] * (N - 2)]}, {},
         "{path}: row 2: column 'text' holds no text; drop such rows"),
        ({"kind": ["a"] * N}, {},
         "data.target: column 'kind' holds a in every row, so there is nothing to learn; choose "
         "another column"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_refused(
    tmp_path: Path, changes: Columns, others: dict[str, Any], message: str
) -> None:
    path = write_table(tmp_path / "t.csv", {**TABLE, **changes})
    config = config_of(path, "kind", **others)
    params = {key: value for key, value in config.params.items() if value is not None}
    config = DataConfig(name="text", params=params)
    assert refusal(config, tmp_path) == message.format(path=path)


def test_numbers_that_a_file_says_are_numbers_are_no_text(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", {**TABLE, "text": [row / 2 for row in range(N)]})
    assert refusal(config_of(path, "kind"), tmp_path) == (
        "data.column: column 'text' holds numbers, such as 0.0, and no text; name the column of "
        "the texts"
    )


def test_texts_of_which_some_are_numbers_are_texts(tmp_path: Path) -> None:
    table = {**TABLE, "text": [str(row) for row in range(N - 1)] + ["none of these"]}
    load(config_of(write_table(tmp_path / "t.csv", table), "kind"), tmp_path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_what_stands_for_a_gap_elsewhere_is_a_text(tmp_path: Path, suffix: str) -> None:
    odd = ["?", "NA", "None", "no", "null", " ? "]
    path = write_table(tmp_path / f"t{suffix}", {**TABLE, "text": odd * 8})
    data = load(config_of(path, "kind", COLUMN), tmp_path)
    assert {len(row) for row in ids_of(data.train)} == {1}
    assert data.info.tokens == Tokens(2 + 4)  # "null" stands in validation rows alone
    gap = {**TABLE, "kind": ["?", *TABLE["kind"][1:]]}
    path = write_table(tmp_path / f"gap{suffix}", gap)
    assert "row 1: column 'kind', the target, has no value" in refusal(
        config_of(path, "kind"), tmp_path
    )


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    table = {**TABLE, "kind": [f"k{row % 2000}" for row in range(3000)], "text": ["ja no"] * 3000}
    columns = {name: table[name] for name in ("text", "kind")}
    path = write_table(tmp_path / "t.csv", columns)
    assert refusal(config_of(path, "kind"), tmp_path) == (
        "data.target: column 'kind' has 2,000 different values in 3,000 rows, too many for "
        "classes; choose another column"
    )


def test_too_many_words_are_no_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)
    monkeypatch.setattr("sweeper.data.texts.decode._MOST_WORDS", 40)
    assert refusal(config_of(path, "kind"), tmp_path) == (
        f"{path}: column 'text' has more than 40 different words, which are no language's; name "
        "another column by data.column, or clean it"
    )


def test_texts_of_the_test_are_not_read(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", {**TABLE, "text": [*TABLE["text"][:40], *[None] * 8]})
    test = {"column": "who", "value": "p5"}  # of the rows that have no text, which is refused
    info = load(config_of(path, "kind", test=test), tmp_path).info
    assert info.n_train + info.n_validation == 40
