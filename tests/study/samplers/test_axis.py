import numpy as np
import pytest

from sweeper.config.ranges import Choices, FloatRange, IntRange, Range
from sweeper.config.settings import Scalar
from sweeper.study.samplers.axis import Axis, has_order


@pytest.mark.parametrize(
    ("values", "value", "unit"),
    [
        (FloatRange(1.0, 3.0), 1.5, 0.25),
        (FloatRange(1e-4, 1.0, log=True), 1e-3, 0.25),
        (FloatRange(0.0, 1.0, step=0.25), 0.75, 0.75),
        (FloatRange(1e-300, 1e300, log=True), 1.0, 0.5),
        (IntRange(1, 5), 2, 0.25),
        (IntRange(1, 16, log=True), 4, 0.5),
        (Choices((3,)), 3, 0.0),
        (IntRange(0, 1_000_000), 250_000, 0.25),
        (Choices((16, 64, 32)), 32, 0.5),
        (Choices((0.1, 1, 0.5)), 1, 1.0),
        (Choices(("a", "b", "c")), "c", 2.0),
        (Choices((16, 32)), 32, 1.0),
        (Choices((False, True, 3)), True, 1.0),
    ],
)
def test_a_value_has_a_unit_that_leads_back_to_it(
    values: Range, value: object, unit: float
) -> None:
    axis = Axis(values)
    assert axis.unit(value) == pytest.approx(unit, abs=1e-12)  # type: ignore[arg-type]
    assert axis.value(axis.unit(value)) == pytest.approx(value)  # type: ignore[arg-type]
    assert type(axis.value(unit)) is type(value)


@pytest.mark.parametrize(
    ("values", "wanted", "nearest"),
    [
        (FloatRange(1e-4, 1e-1, log=True), 1e-3, 1e-3),
        (FloatRange(1e-7, 1e-3, log=True), 0.0, 1e-7),
        (FloatRange(0.0, 1.0, step=0.25), 0.6, 0.5),
        (IntRange(3, 9), 128, 9),
        (Choices((64, 256, 512)), 128, 64),
        (Choices((8, 16)), 32, 16),
        (Choices((4, "auto")), 2, 4),
        (Choices((True, False)), False, False),
        (Choices(("sgd", "adamw")), "adamw", "adamw"),
        (Choices(("sgd", "lion")), "adamw", None),
        (Choices((0, 1)), False, None),
        (Choices(("none",)), 0.0, None),
        (FloatRange(0.0, 1.0), "none", None),
    ],
)
def test_the_value_of_a_range_that_is_nearest_to_another(
    values: Range, wanted: Scalar, nearest: Scalar
) -> None:
    axis = Axis(values)
    unit = axis.nearest(wanted)
    found = None if unit is None else axis.value(unit)
    assert found == (nearest if isinstance(nearest, str | None) else pytest.approx(nearest))


def test_only_three_numbers_or_more_have_an_order() -> None:
    assert has_order(Choices((16, 32, 64)))
    assert has_order(Choices((0.1, 1, 10)))
    assert not has_order(Choices((16, 32)))
    assert not has_order(Choices((1, 2, True)))
    assert not has_order(Choices((1, 2, "auto")))


@pytest.mark.parametrize("value", ["sgd", None, True, 17])
def test_what_is_no_value_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is no option"):
        Axis(Choices((16, 32, 64))).unit(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        IntRange(2, 9, step=3),
        IntRange(1, 4096, log=True),
        IntRange(0, 5000),
        FloatRange(-1.0, 1.0, step=0.1),
        FloatRange(1e-5, 1e-1, log=True),
        Choices((4, 1, 9, 7)),
        Choices(tuple(range(2000))),
        Choices(("x", "y", None)),
    ],
)
def test_what_is_spread_or_snapped_is_the_unit_of_a_value(values: Range) -> None:
    axis = Axis(values)
    draws = np.random.default_rng(0).random(500)
    for units in (axis.spread(draws), axis.snap(axis.spread(draws))):
        again = [axis.unit(axis.value(unit)) for unit in units]
        np.testing.assert_allclose(again, units, atol=1e-9)


def test_each_option_or_step_is_as_likely_as_another() -> None:
    for values in (Choices((1, 10, 100, 1000)), IntRange(0, 3), FloatRange(0, 3, step=1.0)):
        units = Axis(values).spread(np.linspace(0, 1, 400, endpoint=False))
        assert np.unique(units, return_counts=True)[1].tolist() == [100] * 4


def test_levels_are_all_values_or_as_many_as_asked_for() -> None:
    rng = np.random.default_rng(0)
    assert sorted(Axis(Choices((8, 4, 2))).levels(rng, 5)) == [0, 0.5, 1]
    few = Axis(IntRange(0, 100)).levels(rng, 5)
    assert len(set(few)) == 5
    assert all(0 <= unit <= 1 for unit in Axis(IntRange(0, 10**6)).levels(rng, 5))
