"""The best settings near good ones, one parameter at a time."""

from collections.abc import Callable, Container

import numpy as np

from sweeper.study.samplers.axis import Array
from sweeper.study.samplers.latent import LatentSpace

#: Of a discrete range that one step tries.
_MOST_LEVELS = 12
_STARTS, _MOST_STEPS = 8, 20
#: In logarithms of expected improvement.
_LEAST_GAIN = 1e-4
#: Standard deviations of steps on a continuous range.
_STEPS = np.repeat([0.2, 0.05, 0.0125, 0.003], 2)

Score = Callable[[Array], Array]


class LocalSearch:
    """Searches within a branch.

    Args:
        space: The search space.
        held: Ranges that keep their values.
        rng: Of all its draws.
    """

    def __init__(self, space: LatentSpace, held: Container[int], rng: np.random.Generator) -> None:
        self._space = space
        self._rng = rng
        self._free = [at for at in range(len(space.names)) if at not in held]

    def climb(self, rows: Array, score: Score) -> Array:
        """The best row of local searches from the best of some.

        Args:
            rows: [m, n].
            score: Rows -> what is to be highest, minus infinity where a row may not be taken.
        """
        values = score(rows)
        first = np.argsort(-values, kind="stable")[:_STARTS]
        points, values = rows[first].copy(), values[first]
        alive = np.arange(len(points))
        for _ in range(_MOST_STEPS):
            moves = [self.moves(points[at]) for at in alive]
            ends = np.cumsum([len(found) for found in moves])
            better = []
            for at, found, scores in zip(
                alive, moves, np.split(score(np.concatenate(moves)), ends[:-1]), strict=True
            ):
                if len(found) and scores.max() > values[at] + _LEAST_GAIN:
                    points[at], values[at] = found[scores.argmax()], scores.max()
                    better.append(at)
            if not better:
                break
            # Searches that met go on as one.
            alive = np.array(better)[np.unique(points[better], axis=0, return_index=True)[1]]
        best: Array = points[values.argmax()]
        return best

    def moves(self, row: Array) -> Array:
        """The row with one range that counts in it changed, those held and the forks left."""
        space = self._space
        counts = space.active(row[None])[0]
        places: list[int] = []
        units = [np.empty(0)]
        for at in (at for at in self._free if counts[at]):
            if np.isinf(space.n_levels[at]):
                steps = self._rng.standard_normal(len(_STEPS)) * _STEPS
                found = np.clip(row[at] + steps, 0, 1)
            else:
                found = space.axes[at].levels(self._rng, _MOST_LEVELS)
            places += [at] * len(found)
            units.append(found)
        rows = np.repeat(row[None], len(places), axis=0)
        rows[np.arange(len(places)), places] = np.concatenate(units)
        return rows
