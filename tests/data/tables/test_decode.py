"""Tables of every form x every kind of target x every way to hold out rows, and bad ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeper.config.settings import DataConfig
from sweeper.data.batches import Split
from sweeper.data.cache import open_cache, prepare_data
from sweeper.errors import DataError
from tests.support.loaded_data import load
from tests.support.table_files import SUFFIXES, Columns, write_held_out, write_table

N = 48
NUMBERS = [float(row) for row in range(N)]
#: "row" tells each row apart.
TABLE: Columns = {
    "row": NUMBERS,
    "town": ["Ulm", "Bonn", None, "Ulm"] * 12,
    "age": [None if row == 3 else row % 7 for row in range(N)],
    "kind": ["a", "b", "c"] * 16,
    "yes": [True, False] * 24,
    "price": [row / 4 + 0.125 for row in range(N)],
    "count": [row % 5 for row in range(N)],
    "who": [f"p{row // 8}" for row in range(N)],
    "part": (["train"] * 4 + ["val", "test"]) * 8,
}
OTHERS = {"kind", "yes", "price", "count", "who", "part"}
TARGETS: Mapping[str, tuple[Any, str, int]] = {
    "words": ("kind", "classification", 3),
    "booleans": ("yes", "classification", 2),
    "fractions": ("price", "regression", 1),
    "labels": (["yes"], "multilabel", 1),
}
HOLDOUTS: Mapping[str, Any] = {
    "share": 0.25,
    "group": {"by": "who", "share": 0.2},
    "column": {"column": "part", "value": "val", "test": "test"},
    "file": {"path": "second"},
}


def config_of(path: Path, target: Any, validation: Any = 0.25, **others: Any) -> DataConfig:
    task = others.pop("task", None)
    taken = {target} if isinstance(target, str) else set(target)
    if not isinstance(validation, float):
        taken |= {validation.get("by"), validation.get("column")}
    taken.add(others.get("test", {}).get("column"))
    params = {"path": str(path), "target": target, "ignore": sorted(OTHERS - taken), **others}
    return DataConfig(name="table", params=params, validation=validation, task=task)


def inputs_of(split: Split) -> torch.Tensor:
    return torch.cat([inputs for inputs, _ in split.batches(5)])


def targets_of(split: Split) -> torch.Tensor:
    return torch.cat([targets for _, targets in split.batches(5)])


def row_numbers(split: Split) -> list[int]:
    """Of a table whose target is the number of its row."""
    return [int(number) for number in targets_of(split)[:, 0]]


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
    assert info.features is not None
    assert info.features.categories == (3,)
    assert info.input_shape == (info.features.n_numbers + 1,)
    for data in found:
        assert data.info == info
        for split, first in ((data.train, found[0].train), (data.validation, found[0].validation)):
            assert inputs_of(split).isfinite().all()
            assert torch.equal(inputs_of(split), inputs_of(first))
            assert torch.equal(targets_of(split), targets_of(first))


def test_how_many_groups_are_on_each_side_is_told(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)
    data = load(config_of(path, "row", {"by": "who", "share": 0.4}, task="regression"), tmp_path)
    assert data.inferred[-1] == "parted by who: 4 groups to train on, 2 to validate on"


def test_a_column_says_which_rows_and_those_of_the_test_are_not_read(tmp_path: Path) -> None:
    # A word where numbers are, in a row of the test: whoever reads it refuses it.
    spoilt = {**TABLE, "age": ["spoilt" if row == 5 else 1.5 * row for row in range(N)]}
    path = write_table(tmp_path / "t.csv", spoilt)
    config = config_of(path, "row", HOLDOUTS["column"], task="regression")
    data = load(config, tmp_path)
    assert row_numbers(data.validation) == list(range(4, N, 6))
    assert row_numbers(data.train) == [row for row in range(N) if row % 6 < 4]
    held_out = config_of(path, "row", {"column": "part", "value": "val"}, task="regression")
    assert "row 6: column 'age' is 'spoilt'" in refusal(held_out, tmp_path)


@pytest.mark.parametrize("holdout", ["share", "group", "column", "file"])
def test_rows_of_the_test_are_not_read_whatever_is_held_out(tmp_path: Path, holdout: str) -> None:
    # A word where numbers are, in a row of the test: whoever reads it refuses it.
    spoilt = {**TABLE, "age": ["spoilt" if row // 8 == 5 else 1.5 * row for row in range(N)]}
    path = write_table(tmp_path / "t.csv", spoilt)
    validation = HOLDOUTS[holdout]
    if holdout == "file":
        validation = {"path": str(write_table(tmp_path / "v.csv", spoilt))}
    test = {"column": "who", "value": ["p1", "p5"]}
    data = load(config_of(path, "row", validation, task="regression", test=test), tmp_path)
    sides = [set(row_numbers(split)) for split in (data.train, data.validation)]
    read = {row for row in range(N) if row // 8 not in (1, 5)}
    if holdout == "column":
        read -= {row for row in range(N) if row % 6 == 5}  # of the test that validation names
    assert sides[0] | sides[1] == read
    if holdout == "group":
        assert not {row // 8 for row in sides[0]} & {row // 8 for row in sides[1]}


def test_one_column_may_name_validation_and_test(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)
    one = config_of(path, "row", HOLDOUTS["column"], task="regression")
    column, test = {"column": "part", "value": "val"}, {"column": "part", "value": "test"}
    other = config_of(path, "row", column, task="regression", test=test)
    infos = [load(config, tmp_path / str(n)).info for n, config in enumerate((one, other))]
    assert infos[0] == infos[1]


@pytest.mark.parametrize(
    ("test", "text"),
    [
        ({"column": "whom", "value": "p1"}, "data.test: .*t.csv has no column 'whom'; did you me"),
        (
            {"column": "who", "value": ["p1", "p6"]},
            "data.test: no row has 'p6' in column 'who'; known: p0, ",
        ),
        (
            {"column": "town", "value": "Ulm"},
            "column 'town', which names the rows of the test, ha",
        ),
        ({"column": "who", "value": [f"p{n}" for n in range(6)]}, "t.csv: has no rows to learn"),
        ({"column": "row", "value": 3}, "data.test: column 'row' is named by data.target too; "),
    ],
)
def test_a_test_that_is_not_there_is_refused(
    tmp_path: Path, test: dict[str, Any], text: str
) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)
    config = config_of(path, "row", task="regression", test=test)
    with pytest.raises(DataError, match=text):
        load(config, tmp_path)


def test_targets_are_what_the_columns_say(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)

    def targets(target: Any, task: str | None = None) -> tuple[torch.Tensor, tuple[str, ...]]:
        column = {"column": "part", "value": "val"}
        data = load(config_of(path, target, column, task=task), tmp_path)
        return targets_of(data.validation), data.info.classes  # rows 4, 10, ... 46

    words, names = targets("kind")
    assert (words.tolist(), names) == ([1] * 8, ("a", "b", "c"))
    truths, names = targets("yes")
    assert (truths.tolist(), names) == ([1] * 8, ("False", "True"))
    counts, names = targets("count", "classification")
    assert (counts.tolist(), names) == ([4, 0, 1, 2, 3, 4, 0, 1], ("0", "1", "2", "3", "4"))
    counts, names = targets("count", "regression")
    assert (counts[:, 0].tolist(), names) == ([4.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0], ())
    labels, names = targets(["yes"])
    assert (labels[:, 0].tolist(), labels.dtype, names) == ([True] * 8, torch.bool, ("yes",))
    numbers, _ = targets(["price", "count"])
    assert numbers[0].tolist() == [1.125, 4.0]


def test_what_is_fitted_does_not_see_validation_rows(tmp_path: Path) -> None:
    column = {"column": "part", "value": "val"}
    spoilt = {
        **TABLE,
        "age": [1e6 if row % 6 == 4 else age for row, age in enumerate(TABLE["age"])],
        "town": ["Rom" if row % 6 == 4 else town for row, town in enumerate(TABLE["town"])],
    }
    for scale in ("standard", "quantile"):
        first, second = (
            load(
                config_of(write_table(tmp_path / name, table), "kind", column, scale=scale),
                tmp_path,
            )
            for name, table in (("t.csv", TABLE), ("spoilt.csv", spoilt))
        )
        assert torch.equal(inputs_of(first.train), inputs_of(second.train))
        assert inputs_of(second.validation)[:, -1].tolist() == [0.0] * 8  # Rom is not seen


def test_rows_that_are_too_big_to_stay_come_through_a_loader(tmp_path: Path) -> None:
    config = config_of(write_table(tmp_path / "t.csv", TABLE), "kind")
    resident, loaded = load(config, tmp_path), load(config, tmp_path, resident_bytes=0)
    assert torch.equal(inputs_of(resident.train), inputs_of(loaded.train))


def test_numbers_have_the_scale_that_is_asked_for(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)
    plain, standard, quantile = (
        inputs_of(load(config_of(path, "kind", **params), tmp_path).train)
        for params in ({}, {"scale": "standard"}, {"scale": "quantile"})
    )
    assert torch.equal(plain, standard)
    assert not torch.equal(plain, quantile)


def test_the_scale_alone_reads_no_file_again(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)
    entries = {
        open_cache(config_of(path, "kind", validation, scale=scale), tmp_path / "cache").folder
        for scale in ("standard", "quantile")
        for validation in (0.1, 0.2)
    }
    assert len(entries) == 1


def test_a_file_that_is_changed_is_read_again(tmp_path: Path) -> None:
    config = config_of(write_table(tmp_path / "t.csv", TABLE), "price")
    before = open_cache(config, tmp_path / "cache")
    write_table(tmp_path / "t.csv", {**TABLE, "town": ["Ulm"] * (N - 1) + ["Bonn"]})
    assert open_cache(config, tmp_path / "cache").digest != before.digest


def test_the_same_codes_of_other_words_are_other_data(tmp_path: Path) -> None:
    first, second = (
        load(config_of(write_table(tmp_path / f"{word}.csv", table), "price"), tmp_path)
        for word in ("Ulm", "Jena")
        for table in [{**TABLE, "town": [word if t == "Ulm" else t for t in TABLE["town"]]}]
    )
    assert torch.equal(first.counts, second.counts)
    assert first.info.fingerprint != second.info.fingerprint


def test_what_was_inferred_is_told(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)
    assert load(config_of(path, "kind"), tmp_path).inferred == (
        "t: 2 numbers (row, age), 1 category (town of 2 words), no value (town in 12 rows, "
        "age in 1 row)",
        "target kind: classification, 3 classes (a in 16 rows, b in 16 rows, c in 16 rows); the "
        "commonest alone reaches val_accuracy 0.333",
    )
    column = {"column": "part", "value": "val"}
    told = load(config_of(path, "price", column), tmp_path).inferred[1]
    # Of six rows all but the fifth: 2.2 and 6 times 0 to 7, a quarter of that and 0.125.
    assert told.startswith("target price: regression, mean 5.925; the mean alone reaches val_rmse")
    assert load(config_of(path, ["yes"]), tmp_path).inferred[1] == (
        "target yes: multilabel, 1 label (yes in 24 rows)"
    )


def test_a_class_of_one_row_is_told(tmp_path: Path) -> None:
    table = {**TABLE, "kind": ["rare", *TABLE["kind"][1:]]}
    data = load(config_of(write_table(tmp_path / "t.csv", table), "kind"), tmp_path)
    assert data.remark == (
        "t: no more than one row is of 'rare', which cannot be trained on and validated too"
    )
    assert data.train.n_rows == 36


def test_a_relative_path_counts_from_the_working_folder_then_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    write_table(tmp_path / "data" / "t.csv", TABLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEPER_DATA", raising=False)
    config = config_of(Path("t.csv"), "kind")
    assert refusal(config, tmp_path).startswith(
        f"data.path: no such file: {tmp_path}/t.csv; give the path"
    )
    monkeypatch.setenv("SWEEPER_DATA", str(tmp_path / "data"))
    assert load(config, tmp_path).info.n_train == 36
    monkeypatch.delenv("SWEEPER_DATA")
    monkeypatch.chdir(tmp_path / "data")
    assert load(config, tmp_path).info.n_train == 36


def refusal(config: DataConfig, folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        prepare_data(config, cache_dir=folder / "cache")
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "target", "others", "message"),
    [
        ({}, "kin", {}, "data.target: {path} has no column 'kin'; did you mean 'kind'?"),
        ({}, "kind", {"ignore": ["aeg"]},
         "data.ignore: {path} has no column 'aeg'; did you mean 'age'?"),
        ({}, "kind", {"validation": {"by": "whom"}},
         "data.validation: {path} has no column 'whom'; did you mean 'who'?"),
        ({}, ["kind", "kind"], {}, "data.target: column 'kind' is named twice; name it once"),
        ({}, "kind", {"ignore": ["row", "town", "age", *sorted(OTHERS - {"kind"})]},
         "data.ignore: no column of {path} is left to learn from; leave out fewer"),
        ({"kind": ["a"] * N}, "kind", {},
         "data.target: column 'kind' holds a in every row, so there is nothing to learn; choose "
         "another column"),
        ({"price": [2.5] * N}, "price", {},
         "data.target: column 'price' holds 2.5 in every row, so there is nothing to learn; "
         "choose another column"),
        ({"kind": ["a", None, "b", None] * 12}, "kind", {},
         "{path}: row 2: column 'kind', the target, has no value, and 23 more rows have none; "
         "drop such rows"),
        ({}, "count", {},
         "data.target: column 'count' holds whole numbers from 0 to 4, which may be classes or "
         "numbers; say which by data.task: classification, or data.task: regression"),
        ({}, ["count", "row"], {},
         "data.target: the columns hold whole numbers, and not 0 and 1 alone; say that they are "
         "numbers by data.task: regression"),
        ({}, ["kind", "yes"], {},
         "data.target: column 'kind' holds words, such as 'a'; several targets are all numbers, "
         "or all 0 and 1; one column of words alone makes a classification"),
        ({}, "price", {"task": "classification"},
         "data.target: column 'price' holds fractions, such as 0.125; a classification wants "
         "words or whole numbers"),
        ({}, ["yes", "kind"], {"task": "classification"},
         "data.target: there are 2 columns, and a classification has one; say data.task: "
         "multilabel if each is a label"),
        ({}, "kind", {"task": "regression"},
         "data.target: column 'kind' holds words, such as 'a'; a regression wants numbers: choose "
         "another column, or data.task: classification"),
        ({}, ["count"], {"task": "multilabel"},
         "data.target: column 'count' holds whole numbers from 0 to 4; multilabel wants 0 and 1, "
         "or true and false"),
        ({"age": [1, 2, "x"] * 16}, "kind", {},
         "{path}: row 3: column 'age' is 'x', and most others are numbers; mend it, or leave it "
         "out by data.ignore"),
        ({"age": [1e300] * N}, "kind", {},
         "{path}: row 1: column 'age' is 1e+300, which is too large for float32; mend it, or "
         "leave it out by data.ignore"),
        ({"age": [None] * N}, "kind", {},
         "column 'age' has no value at all; leave it out by data.ignore"),
        ({"age": ["2026-01-31"] * N}, "kind", {},
         "column 'age' holds dates, such as '2026-01-31'; make numbers of them, as of a month or "
         "an age, or leave it out by data.ignore"),
        ({"": list(range(N))}, "kind", {},
         "{path}: column 10 has no name; name it, or leave it out by data.ignore: [\"\"]"),
        ({"who": ["p"] * N}, "kind", {"validation": {"by": "who"}},
         "data.validation: column 'who' holds 'p' in every row; wanted are at least two groups: "
         "choose another column, or a share"),
        ({"who": [None, *"p" * (N - 1)]}, "kind", {"validation": {"by": "who"}},
         "{path}: row 1: column 'who', which parts the rows, has no value; mend it"),
        ({}, "kind", {"validation": {"column": "part", "value": "valid"}},
         "data.validation: no row has 'valid' in column 'part'; did you mean 'val'?"),
        ({}, "kind", {"validation": {"column": "part", "value": "val", "test": "tets"}},
         "data.validation: no row has 'tets' in column 'part'; did you mean 'test'?"),
        ({}, "kind", {"validation": {"column": "part", "value": "val", "test": "val"}},
         "data.validation: 'val' is value and test, and rows of the test are not read; give two "
         "words, or leave out test"),
        ({}, "kind", {"validation": {"by": "kind"}},
         "data.validation: column 'kind' is named by data.target too; name it once"),
        ({"part": ["val", "test"] * 24}, "kind", {"validation": HOLDOUTS["column"]},
         "data.validation: every row has 'val' or 'test' in column 'part', so none is left to "
         "train on"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_refused(
    tmp_path: Path, changes: Columns, target: Any, others: dict[str, Any], message: str
) -> None:
    path = write_table(tmp_path / "t.csv", {**TABLE, **changes})
    assert refusal(config_of(path, target, **others), tmp_path) == message.format(path=path)


COMMAS = (
    "column {name!r} holds numbers with commas, such as {example!r}, which are taken for words; "
    "write them with a point, and nothing between thousands (pandas reads them by read_csv(FILE, "
    "sep=';', decimal=',', thousands='.'))"
)


@pytest.mark.parametrize("numbers", [["7", "3,14"], ["-0,5", "1.234,5"], ["1,234.5", "1,234,567"]])
def test_numbers_with_commas_are_no_words(tmp_path: Path, numbers: list[str]) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{numbers[row % 3 > 0]};{row % 2}.5;{'ab'[row % 2]}" for row in range(40)]
    path.write_text("\n".join(["size;price;kind", *rows]))
    params = {"path": str(path), "target": "kind"}
    example = next(number for number in numbers if "," in number)
    said = COMMAS.format(name="size", example=example)
    assert refusal(DataConfig(name="table", params=params), tmp_path) == (
        f"{said}, or leave it out by data.ignore"
    )
    params["target"] = "size"
    for task in (None, "regression"):
        config = DataConfig(name="table", params=params, task=task)
        assert refusal(config, tmp_path) == (
            f"data.target: {said}, or say data.task: classification"
        )
    data = load(DataConfig(name="table", params=params, task="classification"), tmp_path)
    assert data.info.classes == tuple(sorted(numbers))


@pytest.mark.parametrize("words", [["1,2,3", "4,5,6"], ["1,5 kg", "2,5 kg"], ["3,14", "pi"]])
def test_words_that_hold_commas_are_words(tmp_path: Path, words: list[str]) -> None:
    table = {"size": words * 20, "kind": ["a", "b"] * 20}
    params = {"path": str(write_table(tmp_path / "t.csv", table)), "target": "kind"}
    features = load(DataConfig(name="table", params=params), tmp_path).info.features
    assert features is not None
    assert features.categories == (3,)


def test_a_column_of_ids_is_refused(tmp_path: Path) -> None:
    table = {"name": [f"n{row}" for row in range(120)], "kind": ["a", "b"] * 60}
    path = write_table(tmp_path / "t.csv", table)
    params = {"path": str(path), "target": "kind"}
    assert refusal(DataConfig(name="table", params=params), tmp_path) == (
        "column 'name' has 120 different words in 120 rows, so it looks like an id; leave it out "
        "by data.ignore"
    )
    params["target"] = "name"
    assert refusal(DataConfig(name="table", params=params), tmp_path) == (
        "data.target: column 'name' has 120 different values in 120 rows, too many for classes; "
        "choose another column"
    )


def test_no_rows_are_trained_on_and_validated_too(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)
    (tmp_path / "link.csv").symlink_to(path)
    assert refusal(config_of(path, "kind", {"path": str(tmp_path / "link.csv")}), tmp_path) == (
        f"data.validation: {path} is data.path too, so that a model would be validated on what it "
        "was trained on; name other rows, or hold out a share of these"
    )


def test_a_second_file_must_have_the_same_columns(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", TABLE)
    second = write_table(
        tmp_path / "s.csv", {"aged" if k == "age" else k: v for k, v in TABLE.items()}
    )
    assert refusal(config_of(path, "kind", {"path": str(second)}), tmp_path) == (
        f"data.validation: {second} has no column 'age', and {path} has; did you mean 'aged'?"
    )
    write_table(second, {name: [] for name in TABLE})
    assert refusal(config_of(path, "kind", {"path": str(second)}), tmp_path) == (
        f"{second}: has no rows to learn from"
    )
