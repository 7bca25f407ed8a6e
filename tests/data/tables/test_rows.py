"""What a table's training rows decide, worked out by hand."""

import pytest
import torch
from torch import Tensor

from sweeper.config.settings import Scale
from sweeper.data.labelled.labels import Labels
from sweeper.data.rows import TensorRows
from sweeper.data.tables.form import TableColumns
from sweeper.data.tables.rows import TableRows
from sweeper.trial import Features

NAN = float("nan")


def fitted(
    numbers: list[list[float]],
    codes: list[list[int]],
    train: list[int],
    scale: Scale = "standard",
) -> tuple[Tensor, Features]:
    columns = TableColumns(
        tuple(f"number {index}" for index in range(len(numbers[0]) if numbers else 0)),
        tuple(f"word {index}" for index in range(len(codes[0]) if codes else 0)),
        (tuple("abcde"),) * (len(codes[0]) if codes else 0),
        {},
    )
    labels = Labels(("y",), "regression", ())
    n_rows = len(numbers) or len(codes)
    rows = TableRows(
        torch.tensor(numbers) if numbers else torch.empty(n_rows, 0),
        torch.tensor(codes, dtype=torch.int32) if codes else torch.empty(n_rows, 0).int(),
        torch.zeros(n_rows, 1),
        None,
        columns,
        labels,
        "",
        scale,
    )
    held_out = [row for row in range(n_rows) if row not in train]
    found = rows.fit(torch.tensor(train), torch.tensor(held_out))
    assert isinstance(found.samples, TensorRows)
    assert found.features is not None
    return found.samples.inputs, found.features


def test_numbers_are_scaled_by_their_training_rows() -> None:
    # 1, 3, 5: mean 3, variance 8 / 3; the last row is held out.
    inputs, features = fitted([[1], [3], [5], [9]], [], [0, 1, 2])
    deviation = (8 / 3) ** 0.5
    expected = torch.tensor([[-2.0], [0.0], [2.0], [6.0]]) / deviation
    torch.testing.assert_close(inputs, expected, rtol=0, atol=1e-6)
    assert features == Features(1, ())


def test_a_constant_column_is_zero() -> None:
    for scale in ("standard", "quantile"):
        inputs, _ = fitted([[4], [4], [4]], [], [0, 1, 2], scale)
        assert inputs.tolist() == [[0.0]] * 3


def test_a_gap_is_the_median_and_told_beside_it_if_training_rows_have_some() -> None:
    # Known in training: 1, 2, 9, median 2; filled 1, 2, 9, 2: mean 3.5.
    inputs, features = fitted([[1], [2], [9], [NAN], [NAN]], [], [0, 1, 2, 3])
    assert features == Features(2, ())
    assert inputs[:, 1].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert inputs[3, 0] == inputs[4, 0] == inputs[1, 0]
    assert inputs[:4, 0].mean().item() == pytest.approx(0, abs=1e-6)
    alone, features = fitted([[1], [2], [9], [NAN]], [], [0, 1, 2])
    assert features == Features(1, ())
    assert alone[3, 0] == alone[1, 0]


def test_a_column_without_values_in_training_is_zero() -> None:
    inputs, features = fitted([[NAN], [NAN], [7]], [], [0, 1])
    assert features == Features(2, ())
    assert inputs.tolist() == [[0.0, 1.0], [0.0, 1.0], [7.0, 0.0]]


def test_quantiles_make_a_normal_distribution_of_any() -> None:
    numbers = [[2.0 ** (row / 50)] for row in range(1001)]
    inputs, _ = fitted([*numbers, [-1e9], [1e9]], [], list(range(1001)), "quantile")
    scores = inputs[:1001, 0]
    assert scores.diff().min() >= 0
    assert scores[500].item() == pytest.approx(0, abs=1e-6)
    # A share of .8413 lies below one deviation.
    assert scores[841].item() == pytest.approx(0.9986, abs=0.01)
    # The thousandth at each end is one number, and so is what lies beyond.
    assert inputs[-2:, 0].tolist() == pytest.approx([-3.0902, 3.0902], abs=1e-4)


def test_equal_numbers_stand_in_the_middle_of_their_share() -> None:
    # Half are 0, and lie in the shares from 0 to .5: their middle is .25.
    inputs, _ = fitted([[0.0]] * 500 + [[float(n)] for n in range(1, 501)], [],
                       list(range(1000)), "quantile")  # fmt: skip
    assert inputs[0, 0].item() == pytest.approx(-0.6745, abs=0.01)


def test_words_of_training_rows_are_numbered_and_others_are_0() -> None:
    inputs, features = fitted([], [[4, 0], [2, 0], [-1, 0], [3, 1]], [0, 1, 2])
    assert features == Features(0, (3, 2))
    assert inputs.tolist() == [[2, 1], [1, 1], [0, 1], [0, 0]]
    assert inputs.dtype == torch.float32


def test_numbers_come_before_categories() -> None:
    inputs, features = fitted([[1.0], [NAN], [3.0]], [[0], [1], [0]], [0, 1, 2])
    assert features == Features(2, (3,))
    assert inputs[:, 1:].tolist() == [[0, 1], [1, 2], [0, 1]]
