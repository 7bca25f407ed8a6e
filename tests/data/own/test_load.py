import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from sweeper.config.settings import DataConfig
from sweeper.data.own.load import load_custom
from sweeper.data.rows import DatasetRows, TensorRows
from sweeper.errors import DataError, SpecError

LOCKS = Path(tempfile.mkdtemp())
X, Y = torch.rand(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])


class Plain(Dataset[object]):
    """Items as given, without ``.targets``."""

    def __init__(self, items: list[object]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> object:
        return self.items[row]


class WithTargets(Plain):
    """Items as given, beside ``.targets``; counts what is read."""

    def __init__(self, items: list[object], targets: object) -> None:
        super().__init__(items)
        self.targets = targets
        self.n_reads = 0

    def __getitem__(self, row: int) -> object:
        self.n_reads += 1
        return super().__getitem__(row)


class Stream(IterableDataset[object]):
    def __iter__(self) -> Iterator[object]:
        return iter([(X[0], 1)])


class Untouchable:
    def __getattribute__(self, name: str) -> object:
        raise AssertionError("the test split was touched")


RETURNS: dict[str, object] = {}


def load(case: str, scale: int = 1) -> object:
    RETURNS["scale"] = scale
    return RETURNS[case]


def load_columns(columns: list[str]) -> object:
    columns.pop()
    return (X, Y), None


def fail() -> None:
    raise KeyError("column 'age'")


def loaded(train: object) -> TensorRows | DatasetRows:
    RETURNS["case"] = (train, Untouchable())
    return load_custom(DataConfig(name=f"{__name__}:load", params={"case": "case"}), LOCKS)


def failure(returned: object) -> str:
    RETURNS["case"] = returned
    with pytest.raises(DataError) as caught:
        load_custom(DataConfig(name=f"{__name__}:load", params={"case": "case"}), LOCKS)
    prefix = f"{__name__}:load "
    text = str(caught.value)
    return text.removeprefix(prefix).removeprefix(f"{__name__}:load: ")


def test_params_reach_the_function() -> None:
    RETURNS["case"] = ((X, Y), None)
    load_custom(DataConfig(name=f"{__name__}:load", params={"case": "case", "scale": 5}), LOCKS)
    assert RETURNS["scale"] == 5


def test_tensors_are_taken_as_they_are() -> None:
    rows = loaded((X, Y))
    assert isinstance(rows, TensorRows)
    assert torch.equal(rows.inputs, X)
    assert torch.equal(rows.targets, Y)
    assert rows.sums is None


def test_a_tensor_dataset_is_its_tensors() -> None:
    assert isinstance(loaded(TensorDataset(X, Y)), TensorRows)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (torch.float64, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.int64, torch.int64),
        (torch.uint8, torch.uint8),
    ],
)
def test_only_float64_inputs_are_converted(given: torch.dtype, kept: torch.dtype) -> None:
    rows = loaded((X.to(given), Y.to(torch.uint8)))
    assert isinstance(rows, TensorRows)
    assert rows.inputs.dtype == kept
    assert rows.targets.dtype == torch.int64
    assert (rows.sums is not None) == (kept == torch.uint8)


def test_targets_of_a_dataset_are_read_once_or_taken_from_it() -> None:
    read = loaded(Plain([(X[0], 2), (X[1], torch.tensor(0))]))
    assert isinstance(read, DatasetRows)
    assert read.targets.tolist() == [2, 0]
    assert read.input_shape == (3,)
    many = WithTargets([(X[0].numpy(), row % 3) for row in range(500)], [0, 1, 2] * 166 + [0, 1])
    assert loaded(many).targets.tolist() == many.targets
    assert many.n_reads < 50


@pytest.mark.parametrize(
    ("targets", "fault"),
    [
        ([5, 4, 3, 2, 1, 0], "row 0 has the target 0, and .targets say 5"),
        ([0, 0, 0, 0, 0, 0], "row 1 has the target 1, and .targets say 0"),
        ([0, 1], "its .targets have the shape (2,) for 6 rows"),
        ([[0], [1], [2], [0], [1], [2]], "its .targets have the shape (6, 1) for 6 rows"),
        (["a", "b", "c", "a", "b", "c"], "its .targets are no classes: "),
    ],
)
def test_the_items_count_where_targets_say_otherwise_and_that_is_said(
    targets: object, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    items: list[object] = [(x, int(y)) for x, y in zip(X, Y, strict=True)]
    rows = loaded(WithTargets(items, targets))
    assert rows.targets.tolist() == Y.tolist()
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"WithTargets: {fault}")
    assert record.getMessage().endswith("; the items count, and every row is read once")


def test_a_target_out_of_range_that_only_training_meets_is_named() -> None:
    items: list[object] = [(X[0], row % 2) for row in range(1000)]
    items[501] = (X[0], 7)  # none of those that are looked at first
    rows = loaded(WithTargets(items, [0, 1] * 500))
    assert isinstance(rows, DatasetRows)
    with pytest.raises(DataError, match="row 501 of WithTargets has the target 7, and its .tar"):
        rows.dataset.__getitems__([500, 501])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (
            (X[0].double(), 1),
            "row 1 of Plain is torch.float64, row 0 torch.float32; wanted is one",
        ),
        ((X[0], 0.5), "the target of row 1 of Plain is torch.float32 [], that of row 0 torch.int"),
        ((X[0], Y), "the target of row 1 of Plain is torch.int64 [6], that of row 0 torch.int64 "),
        ((X[0], True), "the target of row 1 of Plain is torch.bool [], that of row 0 torch.int64"),
        ((X[0], "a"), "the target of row 1 is a str; wanted is a whole number, the class from 0"),
    ],
)
def test_a_row_of_another_form_is_named(item: object, text: str) -> None:
    assert failure((Plain([(X[0], 0), item]), None)).startswith(f"train: {text}")


class Broken(Plain):
    def __getitem__(self, row: int) -> object:
        if row:
            raise KeyError("pixels")
        return super().__getitem__(row)


def test_an_exception_of_a_row_is_an_error_of_the_data() -> None:
    assert failure((Broken([(X[0], 0), (X[1], 1)]), None)) == (
        "train: row 1 of Broken raised KeyError: 'pixels'"
    )


def test_targets_that_are_ids_are_refused_before_anything_is_sized_by_them() -> None:
    ids = torch.tensor([20240101, 20240102, 10**18, 20240101, 20240102, 10**18])
    assert failure(((X, ids), None)) == (
        f"train: targets go up to {10**18}, but only 3 differ; number them 0..2, as the model "
        "has an output for each number, or say that they are numbers by data.task: regression"
    )
    vocabulary = torch.arange(0, 50_000, 25)  # not every word of it is in the data
    assert loaded((torch.zeros(2000, 3), vocabulary)).targets.max() == 49_975


def test_uint8_images_with_their_channels_last_are_refused() -> None:
    images = torch.zeros(6, 8, 9, 3, dtype=torch.uint8)
    assert failure(((images, Y), None)) == (
        "train: inputs (6, 8, 9, 3) look like images with their channels last; wanted are "
        "[N, C, H, W], as each channel is normalised: inputs.permute(0, 3, 1, 2)"
    )
    assert isinstance(loaded((images.permute(0, 3, 1, 2), Y)), TensorRows)


WANTED = (
    "wanted is (train, test) or (train, validation, test), each a pair of tensors (inputs, "
    "targets) or a torch Dataset; test may be None"
)


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (None, f"returned a NoneType; {WANTED}"),
        ((X, Y, X, Y), f"returned a tuple of (Tensor, Tensor, Tensor, Tensor); {WANTED}"),
        ([1] * 9, f"returned a list of 9; {WANTED}"),
        ((X, Y), f"train: got a tensor (6, 3) of torch.float32; {WANTED}"),
        (((X.numpy(), Y), None), f"train: got a tuple of (ndarray, Tensor); {WANTED}"),
        (
            ((X, torch.stack([Y, Y, Y], 1)), None),
            "train: targets are torch.int64 [6, 3], which may be labels or numbers; say which by "
            "data.task: multilabel, or data.task: regression",
        ),
        (
            ((X, Y[:4]), None),
            "train: inputs (6, 3) and targets (4,) have different numbers of rows; wanted are "
            "[N, ...] and [N]",
        ),
        (
            ((X, Y.view(6, 1)), None),
            "train: targets are torch.int64 [6, 1]; give classes as [N], by targets.squeeze(1), "
            "or say that they are numbers by data.task: regression",
        ),
        (((X, Y.float().log()), None), "train: the target of row 0 is [-inf]; drop such rows"),
        (
            ((X, torch.zeros(6, 2, 2)), None),
            "train: targets are torch.float32 [6, 2, 2]; wanted are whole numbers [N], the class "
            "of each row from 0 on; fractions [N] or [N, K], which makes a regression; or truth "
            "values [N, K], which makes K labels",
        ),
        (((X, Y - 1), None), "train: a target is -1; wanted are classes from 0 on"),
        (
            ((X, 0 * Y), None),
            "train: each row has the target 0, so there is nothing to learn; return targets that "
            "differ",
        ),
        (
            (Plain([(X[0], [1.5, -1.0]), (X[1], [1.5, -1.0])]), None),
            "train: each row has the target [1.5, -1.0], so there is nothing to learn; return "
            "targets that differ",
        ),
        (
            ((X[:0], Y[:0]), None),
            "train: there are no rows, or no targets of them; wanted is at least one of each",
        ),
        (
            ((X[:, :0], Y), None),
            "train: a sample has the shape (0,), in which there is no value",
        ),
        (
            (Plain([(X[0, :0], 1)]), None),
            "train: a sample has the shape (0,), in which there is no value",
        ),
        ((Plain([]), None), "train: Plain is empty; wanted is at least one row per class"),
        (
            (Plain([X[0]]), None),
            "train: an item is a tensor (3,) of torch.float32; wanted is (input, target)",
        ),
        (
            (Plain([("cat.png", 1)]), None),
            "train: the input of an item is a str; wanted is a tensor (for images, give the "
            "Dataset a transform that ends in one, or name it as data.transform and "
            "data.validation_transform)",
        ),
        (
            (Plain([(X[0].byte(), 1)]), None),
            "train: the input of an item is uint8; a Dataset makes its inputs ready for the "
            "model, so convert it to float32 there, or return tensors, whose uint8 are normalised",
        ),
        (
            (Stream(), None),
            "train: Stream has no length; wanted is a Dataset with __len__ and __getitem__, as "
            "rows are split and shuffled by their index",
        ),
    ],
)
def test_a_wrong_return_says_what_came_and_what_is_wanted(returned: object, text: str) -> None:
    assert failure(returned) == text


def test_an_exception_of_the_function_is_kept() -> None:
    with pytest.raises(DataError) as caught:
        load_custom(DataConfig(name=f"{__name__}:fail", params={}), LOCKS)
    assert str(caught.value) == f"{__name__}:fail raised KeyError: \"column 'age'\""
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_absent_function_is_an_error_of_the_study_file() -> None:
    with pytest.raises(SpecError, match="did you mean 'load'"):
        load_custom(DataConfig(name=f"{__name__}:laod", params={}), LOCKS)


def read_pair(inputs: Tensor, targets: Tensor) -> str:
    return loaded((inputs, targets)).digest


def test_the_digest_follows_the_content() -> None:
    digest = read_pair(X, Y)
    assert read_pair(X.clone(), Y.int()) == digest
    assert read_pair(X + 1, Y) != digest
    assert read_pair(X, 2 - Y) != digest
    assert read_pair(X.view(6, 3, 1), Y) != digest


def test_the_function_is_given_arguments_of_its_own() -> None:
    columns = ["age", "size"]
    for _ in range(2):
        load_custom(
            DataConfig(name=f"{__name__}:load_columns", params={"columns": columns}), LOCKS
        )
    assert columns == ["age", "size"]


def test_validation_rows_of_its_own_follow_those_to_train_on() -> None:
    validation = X[:2] + 100, torch.tensor([3, 3])  # a class that no training row has
    RETURNS["case"] = ((X, Y), validation, Untouchable())
    rows = load_custom(DataConfig(name=f"{__name__}:load", params={"case": "case"}), LOCKS)
    assert isinstance(rows, TensorRows)
    assert torch.equal(rows.inputs, torch.cat([X, validation[0]]))
    assert rows.targets.tolist() == [*Y.tolist(), 3, 3]
    assert rows.marks is not None
    assert rows.marks.tolist() == [0] * len(Y) + [1, 1]


def test_two_datasets_keep_what_each_does_to_its_rows() -> None:
    train = Plain([(x + 0.5, int(y)) for x, y in zip(X, Y, strict=True)])
    RETURNS["case"] = (train, Plain([(X[0], 3), (X[1], 0)]), None)
    rows = load_custom(DataConfig(name=f"{__name__}:load", params={"case": "case"}), LOCKS)
    assert isinstance(rows, DatasetRows)
    assert rows.targets.tolist() == [*Y.tolist(), 3, 0]
    fetch = rows.dataset.__getitems__  # type: ignore[attr-defined]
    assert torch.equal(fetch([1])[0][0], X[1] + 0.5)
    [(first, target), (second, _)] = fetch([len(Y), len(Y) + 1])
    assert torch.equal(first, X[0])
    assert torch.equal(second, X[1])
    assert target == 3


@pytest.mark.parametrize(
    ("validation", "text"),
    [
        (
            (X[:, :2], Y),
            "validation: is torch.float32 [2] classification [], and train torch.float32 [3] "
            "classification []; wanted is one form for both",
        ),
        (
            (X, Y.float()),
            "validation: is torch.float32 [3] regression [1], and train torch.float32 [3] "
            "classification []; wanted is one form for both",
        ),
        (Plain([(X[0], 0)]), "validation: wanted are two pairs of tensors, or two of torch's Da"),
        (None, "validation: got a NoneType; wanted is (train, test) or (train, validation, test)"),
    ],
)
def test_validation_rows_of_another_form_are_refused(validation: object, text: str) -> None:
    assert failure(((X, Y), validation, None)).startswith(text)
