"""One range of a search space as a line, or as points without order."""

import math
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from sweeper.config.ranges import Choices, FloatRange, Range
from sweeper.config.settings import Scalar

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

#: Steps of a range that are listed; of a longer one each unit is rounded by itself.
_MOST_LISTED = 1024


class Axis:
    """A range whose values are numbers: units in [0, 1] where they have an order, else indices.

    Choices that are numbers have an order, as ``[16, 32, 64]`` have; they lie at equal distances.

    Args:
        values: The range.

    Attributes:
        is_nominal: Whether units are indices of options; two options are, as no order can tell
            more of them.
        n_levels: Different values; ``inf`` if it has a real range without steps.
    """

    def __init__(self, values: Range) -> None:
        self._range = values
        self.is_nominal = False
        self._options: list[Scalar] = []
        if isinstance(values, Choices):
            self.is_nominal = not has_order(values)
            self._options = list(values.options)
            if not self.is_nominal:
                self._options.sort()
            self.n_levels: float = len(self._options)
        elif isinstance(values, FloatRange) and values.step is None:
            self.n_levels = math.inf
        else:
            assert values.step is not None
            self.n_levels = math.floor((values.high - values.low) / values.step + 1e-9) + 1
        self._levels = self._list_levels()

    def unit(self, value: Scalar) -> float:
        """Of one value of the range; of the nearest step, as values come with rounding errors.

        Raises:
            ValueError: If it is none.
        """
        if self._options:
            index = self._index(value)
            return float(index) if self.is_nominal else index / (len(self._options) - 1)
        if not is_number(value):
            raise ValueError(f"{value!r} is no number")
        return float(self.snap(self._to_unit(np.array([float(value)])))[0])

    def nearest(self, value: Scalar) -> float | None:
        """Unit of the value that is nearest to a number; None for a word that is no option."""
        if not is_number(value):
            is_option = any(
                type(option) is type(value) and option == value for option in self._options
            )
            return self.unit(value) if is_option else None
        if not self._options:
            assert not isinstance(self._range, Choices)
            return self.unit(min(max(value, self._range.low), self._range.high))
        numbers = [option for option in self._options if is_number(option)]
        return self.unit(min(numbers, key=lambda option: abs(option - value))) if numbers else None

    def value(self, unit: float) -> Scalar:
        """The value at a unit, the nearest one if it lies between two."""
        if self._options:
            found: Scalar = self._options[
                round(unit if self.is_nominal else unit * (len(self._options) - 1))
            ]
            return found
        number = float(self._to_value(np.array(unit)))
        return number if isinstance(self._range, FloatRange) else round(number)

    def snap(self, units: Array) -> Array:
        """The nearest units that are those of a value."""
        if self.is_nominal or math.isinf(self.n_levels):
            return units
        if self._levels is not None:
            middles = (self._levels[1:] + self._levels[:-1]) / 2
            nearest: Array = self._levels[np.searchsorted(middles, units)]
            return nearest
        return self._to_unit(self._to_value(units))

    def spread(self, draws: Array) -> Array:
        """Units from numbers in [0, 1).

        Each option or step is as likely as another; on a logarithmic range, each factor is.
        """
        if self.is_nominal:
            return np.floor(draws * self.n_levels)
        is_log = not self._options and getattr(self._range, "log", False)
        if self._levels is not None and not is_log:
            listed: Array = self._levels[np.floor(draws * self.n_levels).astype(int)]
            return listed
        return self.snap(draws)

    def levels(self, rng: np.random.Generator, most: int) -> Array:
        """Units of all values, or of so many drawn at random; of a discrete range only."""
        if self.is_nominal:
            units = np.arange(self.n_levels)
        elif self._levels is not None:
            units = self._levels
        else:
            return self.snap(rng.random(most))
        return units if len(units) <= most else rng.choice(units, most, replace=False)

    def _list_levels(self) -> Array | None:
        if self.is_nominal or (self.n_levels > _MOST_LISTED and not self._options):
            return None
        if self._options:
            return np.arange(self.n_levels) / (self.n_levels - 1)
        assert not isinstance(self._range, Choices)
        return self._to_unit(self._range.low + np.arange(self.n_levels) * (self._range.step or 0))

    def _index(self, value: Scalar) -> int:
        for index, option in enumerate(self._options):
            if option == value and isinstance(option, bool) == isinstance(value, bool):
                return index
        raise ValueError(f"{value!r} is no option")

    def _to_unit(self, numbers: Array) -> Array:
        values = self._range
        assert not isinstance(values, Choices)
        if values.log:
            low, high = math.log(values.low), math.log(values.high)
            units = (np.log(numbers) - low) / (high - low)
        else:
            units = (numbers - values.low) / (values.high - values.low)
        return np.clip(units, 0, 1)

    def _to_value(self, units: Array) -> Array:
        values = self._range
        assert not isinstance(values, Choices)
        if values.log:
            low, high = math.log(values.low), math.log(values.high)
            numbers = np.exp(low + units * (high - low))
        else:
            numbers = values.low + units * (values.high - values.low)
        if values.step is not None:
            numbers = values.low + np.round((numbers - values.low) / values.step) * values.step
        return np.clip(numbers, values.low, values.high)


def has_order(values: Choices) -> bool:
    """Whether choices are three numbers or more."""
    return len(values.options) > 2 and all(map(is_number, values.options))


def is_number(value: Scalar) -> TypeGuard[int | float]:
    """Whether it is one, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)
