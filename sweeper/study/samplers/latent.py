"""A search space as rows of numbers: what a model of its settings computes with."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from sweeper.config.grid import count_settings, grid_points
from sweeper.config.ranges import Choices, Range
from sweeper.config.settings import Scalar
from sweeper.config.space import first_value, suggest_config
from sweeper.config.study import StudySpec
from sweeper.study.samplers.axis import Array, Axis, Indices, Mask

#: Branches that are told apart. With more, a trial says too little of each, and choices that come
#: later in the file are searched like any other.
_MOST_BRANCHES = 24


class LatentSpace:
    """The settings of a study as rows: a unit of each range, also of one that is not drawn.

    Which ranges count in a row is asked of :func:`~sweeper.config.space.suggest_config`, once for
    each combination of the choices that have branches.

    Args:
        spec: The study file.

    Attributes:
        names: Dotted names of the ranges, in file order, which is the order of a row [n].
        axes: Of each range.
        n_levels: Different values of each range, ``inf`` without steps [n].
        is_nominal: Whether its values have no order [n].
        column: Embedded column -> range; see :meth:`embed`.
        branches: One row for each branch, of which only ``forks`` matter [branches, n].
        forks: Ranges whose values tell the branches apart.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec
        ranges = spec.ranges()
        self.names = list(ranges)
        self._position = {name: at for at, name in enumerate(self.names)}
        self.axes = [Axis(values) for values in ranges.values()]
        self.n_levels = np.array([axis.n_levels for axis in self.axes], float)
        self.is_nominal = np.array([axis.is_nominal for axis in self.axes], bool)
        self._switches = np.flatnonzero(
            [
                isinstance(values, Choices) and any(values.branches.values())
                for values in ranges.values()
            ]
        )
        # A hash of a row's switches: exact but for one in 2**64.
        self._factors = np.random.default_rng(0).integers(1, 2**62, len(self._switches)) * 2 + 1
        self._active_of: dict[int, Mask] = {}
        self.forks, self.branches = self._find_branches()
        self._forbidden = self._forbidden_units()
        width = np.where(self.is_nominal, self.n_levels, 1).astype(int)
        self.column = np.repeat(np.arange(len(self.names)), width)
        self._option = np.concatenate([np.arange(n) for n in width]) if len(width) else width
        self._is_hot = self.is_nominal[self.column]
        self._middle = np.where(self._is_hot, 1 / width[self.column] / math.sqrt(2), 0.5)

    def held(self, given: Mapping[str, Scalar]) -> dict[int, float]:
        """Range -> the unit of its value, of those that a setting has already.

        Raises:
            ValueError: If a value is none of its range.
        """
        return {
            at: self.axes[at].unit(given[name])
            for at, name in enumerate(self.names)
            if name in given
        }

    def nearest(self, setting: Mapping[str, Scalar]) -> dict[int, float]:
        """Range -> the unit that is nearest to a value, of those that know such a value."""
        units = {
            at: self.axes[at].nearest(setting[name])
            for at, name in enumerate(self.names)
            if name in setting
        }
        return {at: unit for at, unit in units.items() if unit is not None}

    def row(self, params: Mapping[str, Scalar], draws: Array) -> Array:
        """The latent row of a setting.

        Args:
            params: Values by dotted name; names of no range are left out.
            draws: Numbers in [0, 1) for the ranges without a value [n].

        Raises:
            ValueError: If a value is none of its range.
        """
        row: Array = self.spread(draws[None])[0]
        for at, unit in self.held(params).items():
            row[at] = unit
        return row

    def params(self, row: Array) -> dict[str, Scalar]:
        """The setting of a row: values of the ranges that count in it, by dotted name."""
        counts = self.active(row[None])[0]
        return {
            name: self.axes[at].value(row[at]) for at, name in enumerate(self.names) if counts[at]
        }

    def spread(self, draws: Array) -> Array:
        """Rows from numbers in [0, 1) [..., n], each value of a discrete range equally likely."""
        columns = [axis.spread(draws[:, at]) for at, axis in enumerate(self.axes)]
        return np.column_stack(columns) if columns else draws

    def active(self, rows: Array) -> Mask:
        """Which ranges count in each row [rows, n]."""
        hashes = self._switch_values(rows) @ self._factors
        found, first, of = np.unique(hashes, return_index=True, return_inverse=True)
        each = [self._active(key, rows[at]) for key, at in zip(found, first, strict=True)]
        active: Mask = np.array(each, bool).reshape(-1, rows.shape[1])[of]
        return active

    def branch(self, rows: Array) -> Indices:
        """Index of each row's branch, an integer [rows]."""
        chosen = np.where(self.active(rows), rows, -1)[:, self.forks]
        found: Indices = np.argmax(np.all(chosen[:, None] == self._labels, axis=2), axis=1)
        return found

    @cached_property
    def counts_in_branch(self) -> Mask:
        """Which forks count in each branch; of other ranges it says nothing [branches, n]."""
        return self.active(self.branches)

    @cached_property
    def _labels(self) -> Array:
        labels: Array = np.where(self.counts_in_branch, self.branches, -1)[:, self.forks]
        return labels

    def keys(self, rows: Array) -> list[bytes]:
        """What tells settings apart, of each row."""
        return [row.tobytes() for row in np.where(self.active(rows), rows, -1).round(6) + 0.0]

    def is_allowed(self, rows: Array) -> Mask:
        """Whether ``forbid`` lets each row be, a truth value [rows]."""
        allowed = np.ones(len(rows), bool)
        if self._forbidden:
            active = self.active(rows)
            for rule in self._forbidden:
                allowed &= ~np.all(
                    [active[:, at] & (abs(rows[:, at] - unit) < 1e-9) for at, unit in rule], axis=0
                )
        return allowed

    def embed(self, rows: Array) -> Array:
        """Points whose distances a kernel takes [rows, columns].

        An ordered range is its unit; options without order are corners of a simplex with edges of
        length 1; what does not count is the middle, or the centre.
        """
        units = rows[:, self.column]
        hot = (units == self._option) / math.sqrt(2)
        points = np.where(self._is_hot, hot, units)
        return np.where(self.active(rows)[:, self.column], points, self._middle)

    def embed_at_end(self, rows: Array) -> Array:
        """The same of this study's own trials at their end: two columns more, as of a model."""
        return np.column_stack([self.embed(rows), np.ones(len(rows)), np.zeros(len(rows))])

    def listed(self, most: int) -> Array | None:
        """All rows that ``forbid`` allows, if no more than so many are to be gone through."""
        if count_settings(self._spec, most + 1) > most:
            return None
        points = grid_points(self._spec)
        rows = [self.row(point, np.zeros(len(self.names))) for point in points]
        return np.array(rows).reshape(-1, len(self.names))

    def _switch_values(self, rows: Array) -> Indices:
        units = rows[:, self._switches]
        steps = np.where(self.is_nominal, 1, self.n_levels - 1)[self._switches]
        values: Indices = np.rint(units * steps).astype(np.int64)
        return values

    def _active(self, key: int, row: Array) -> Mask:
        if key not in self._active_of:
            self._active_of[key] = self._ask(row)
        return self._active_of[key]

    def _ask(self, row: Array) -> Mask:
        counts = np.zeros(len(self.names), bool)

        def suggest(name: str, values: Range) -> Scalar:
            at = self._position[name]
            counts[at] = True
            return (
                self.axes[at].value(row[at]) if at in self._switches else first_value(name, values)
            )

        suggest_config(self._spec, suggest, seed=0)
        return counts

    def _find_branches(self) -> tuple[Indices, Array]:
        """Forks, parents before what hangs on them, and a row for each combination of them."""
        rows = np.zeros((1, len(self.names)))
        forks: list[int] = []
        for at in self._switches:
            counts = self.active(rows)[:, at]
            units = self.axes[at].levels(np.random.default_rng(0), _MOST_BRANCHES + 1)
            wider = np.repeat(rows, np.where(counts, len(units), 1), axis=0)
            wider[np.repeat(counts, np.where(counts, len(units), 1)), at] = np.tile(
                units, counts.sum()
            )
            if len(wider) > _MOST_BRANCHES:
                break
            rows, forks = wider, [*forks, int(at)]
        return np.array(forks, int), rows

    def _forbidden_units(self) -> Sequence[Sequence[tuple[int, float]]]:
        return [
            [
                (at := self._position[name], self.axes[at].unit(value))
                for name, value in rule.items()
            ]
            for rule in self._spec.forbid
            if rule.keys() <= self._position.keys()  # on fallback data there may be fewer
        ]
