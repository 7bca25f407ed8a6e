"""Three curves of a metric, worked out by hand."""

import math

import pytest

from sweeper.commands.verify.compare import (
    STATED_TOLERANCE,
    Difference,
    Parting,
    compare_curves,
    compare_weights,
)
from sweeper.trial import EpochMetrics

NAN = math.nan


def run(*values: float | None, metric: str = "val_loss") -> list[EpochMetrics]:
    """What is reported after epoch 1, 2, ...; None for nothing."""
    return [
        EpochMetrics(epoch, {metric: value, "epoch_seconds": epoch * 1.5 + value}, 0.0)
        for epoch, value in enumerate(values, start=1)
        if value is not None
    ]


def compared(
    recorded: list[EpochMetrics],
    alone: list[EpochMetrics],
    again: list[EpochMetrics] | None = None,
    *,
    is_exact: bool = True,
) -> Difference:
    [found] = compare_curves(recorded, alone, alone if again is None else again, is_exact=is_exact)
    return found


def test_equal_curves_differ_by_nothing_and_wall_time_is_no_metric() -> None:
    assert compared(run(4.0, 2.0), run(4.0, 2.0)) == Difference(
        "val_loss", (2.0, 2.0, 2.0), 0.0, 0.0, 0.0
    )


def test_a_difference_is_a_share_of_the_largest_value() -> None:
    found = compared(run(4.0, 2.0), run(4.0, 3.0))
    assert (found.recorded, found.alone) == (0.25, 0.0)
    assert found.parting == Parting(2, 2.0, 3.0)
    assert not found.is_within


def test_where_the_same_numbers_are_asked_for_the_last_bit_counts() -> None:
    found = compared(run(1.0), run(math.nextafter(1.0, 2.0)))
    assert 0 < found.recorded < 1e-15
    assert not found.is_within


def test_two_runs_alone_that_differ_are_not_the_same_numbers_either() -> None:
    found = compared(run(4.0, 2.0), run(4.0, 2.0), run(4.0, 1.0))
    assert (found.recorded, found.alone) == (0.0, 0.25)
    assert found.parting == Parting(2, 2.0, 1.0)
    assert not found.is_within


def test_elsewhere_three_times_of_what_two_runs_alone_differ_by_is_allowed() -> None:
    near = compared(run(4.0, 2.5), run(4.0, 2.0), run(4.0, 1.8), is_exact=False)
    assert near.recorded == pytest.approx(0.125)
    assert near.tolerance == pytest.approx(0.15)
    assert near.is_within
    far = compared(run(4.0, 2.7), run(4.0, 2.0), run(4.0, 1.8), is_exact=False)
    assert not far.is_within
    assert far.parting == Parting(2, 2.7, 2.0)


@pytest.mark.parametrize(("end", "is_within"), [(0.875, True), (0.8, False)])
def test_elsewhere_it_is_the_metric_in_which_they_differ_most(end: float, is_within: bool) -> None:
    def both(loss: float, accuracy: float) -> list[EpochMetrics]:
        return [EpochMetrics(1, {"val_loss": loss, "val_accuracy": accuracy}, 0.0)]

    recorded, alone, again = both(1.0, end), both(1.0, 1.0), both(0.95, 1.0)
    loss, accuracy = compare_curves(recorded, alone, again, is_exact=False)
    assert loss.is_within
    assert accuracy.alone == 0.0
    assert accuracy.tolerance == loss.tolerance == pytest.approx(0.15)
    assert accuracy.is_within is is_within


def test_a_metric_that_one_run_alone_lacks_allows_the_others_nothing() -> None:
    recorded = [EpochMetrics(1, {"val_loss": 1.0, "val_accuracy": 0.5}, 0.0)]
    alone = [EpochMetrics(1, {"val_loss": 1.0, "val_accuracy": 1.0}, 0.0)]
    again = [EpochMetrics(1, {"val_accuracy": 1.0}, 0.0)]
    loss, accuracy = compare_curves(recorded, alone, again, is_exact=False)
    assert loss.alone == math.inf
    assert (accuracy.tolerance, accuracy.is_within) == (STATED_TOLERANCE, False)


def test_elsewhere_a_little_is_allowed_whatever_two_runs_alone_do() -> None:
    found = compared(run(1.0, 0.99), run(1.0, 1.0), is_exact=False)
    assert found.tolerance == STATED_TOLERANCE
    assert found.is_within


@pytest.mark.parametrize(
    ("recorded", "alone", "parting"),
    [
        (run(4.0, 2.0), run(4.0), Parting(2, 2.0, None)),
        (run(4.0), run(4.0, 2.0), Parting(2, None, 2.0)),
    ],
    ids=["the record is longer", "the record is shorter"],
)
def test_an_epoch_that_one_of_them_lacks_is_no_tolerance_s_matter(
    recorded: list[EpochMetrics], alone: list[EpochMetrics], parting: Parting
) -> None:
    found = compared(recorded, alone, is_exact=False)
    assert found.recorded == math.inf
    assert found.parting == parting


def test_what_is_not_finite_is_equal_to_the_same_alone() -> None:
    assert compared(run(NAN, math.inf), run(NAN, math.inf)).is_within
    assert compared(run(1.0, NAN), run(1.0, 1.0), is_exact=False).recorded == math.inf
    assert compared(run(1.0, math.inf), run(1.0, 1.0), is_exact=False).recorded == math.inf


def test_curves_without_a_finite_value_have_no_scale() -> None:
    assert compared(run(math.inf), run(-math.inf)).recorded == math.inf


def test_only_the_metrics_that_are_asked_for_are_looked_at() -> None:
    both = [EpochMetrics(1, {"score": 1.0, "seconds": 7.0}, 0.0)]
    other = [EpochMetrics(1, {"score": 1.0, "seconds": 9.0}, 0.0)]
    names = [
        each.name for each in compare_curves(both, other, other, only=("score",), is_exact=False)
    ]
    assert names == ["score"]


def test_weights_are_held_against_the_nearer_run() -> None:
    found = compare_weights(0.3, 0.1, 0.2, is_exact=False)
    assert (found.recorded, found.alone, found.tolerance) == (0.1, 0.2, pytest.approx(0.6))
    assert not compare_weights(1e-9, 1e-9, 0.0, is_exact=True).is_within
