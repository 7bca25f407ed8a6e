"""The setting of one trial, chosen among those that it may have."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sweeper.study.samplers.axis import Array, Mask
from sweeper.study.samplers.latent import LatentSpace
from sweeper.study.samplers.local_search import LocalSearch
from sweeper.study.samplers.proposal import IsTried

if TYPE_CHECKING:
    from sweeper.study.samplers.branch_model import BranchModel

#: Of an equal share of the trials that no branch has less of.
_SHARE = 0.5
#: Rows that all branches together are looked at with, and each at least.
_CANDIDATES, _FEWEST_CANDIDATES = 512, 128
#: Rows near the best ones of a branch are looked at as well.
_NEIGHBOURED = 3
_UNIFORM_ROWS, _UNIFORM_ROUNDS = 1024, 16


class Choice:
    """What one trial may be given: allowed, not tried, and with the values that it has already.

    Args:
        space: The search space.
        held: Range -> unit of what the trial has already.
        tried: Latent rows of the trials before and beside it [n, ranges].
        rng: Of all draws.
        is_tried: Whether a trial that is not among those has a setting.
        known: Latent rows of an earlier study, which may be tried once more, but count when
            branches are to have their share [k, ranges].
    """

    def __init__(
        self,
        space: LatentSpace,
        held: Mapping[int, float],
        tried: Array,
        rng: np.random.Generator,
        is_tried: IsTried,
        known: Array | None = None,
    ) -> None:
        self._space = space
        self._held = held
        self._tried = tried
        self._seen = tried if known is None else np.concatenate([known, tried])
        self._tried_keys = set(space.keys(tried))
        self._rng = rng
        self._is_tried = is_tried

    def first(self, rows: Array) -> Array | None:
        """The first of some rows that the trial may be given."""
        for row in self._open(rows):
            [key] = self._space.keys(row[None])
            if key not in self._tried_keys:
                if not self._is_tried(self._space.params(row)):
                    found: Array = row
                    return found
                self._tried_keys.add(key)
        return None

    def nearest(self, row: Array) -> Array | None:
        """The row itself, else the nearest of those that differ from it in one range."""
        moves = LocalSearch(self._space, self._held, self._rng).moves(row)
        apart = np.sum((self._space.embed(moves) - self._space.embed(row[None])) ** 2, axis=1)
        return self.first(np.concatenate([row[None], moves[np.argsort(apart, kind="stable")]]))

    def uniform(self) -> Array | None:
        """Any row; None if so many draws found none."""
        for _ in range(_UNIFORM_ROUNDS):
            row = self.first(self._drawn(_UNIFORM_ROWS))
            if row is not None:
                return row
        return None

    def with_repeats(self) -> "Choice":
        """The same for a trial that may have what was tried."""
        return Choice(self._space, self._held, self._tried[:0], self._rng, lambda _: False)

    def best(
        self, model: "BranchModel", listed: Array | None, *, is_fair: bool = True
    ) -> Array | None:
        """The row of which the model expects most; None if it finds none.

        Args:
            model: Knows what is pending.
            listed: All rows of the space, if it is a small one.
            is_fair: A branch that has had too few trials comes before the one that may gain most.
        """
        search = LocalSearch(self._space, {*self._held, *self._space.forks}, self._rng)
        found = [
            (branch, rows)
            for branch in self._branches()
            if len(rows := self._candidates(model, search, branch, listed))
        ]
        if not found:
            return None
        branch, rows = found[self._pick(model, found, is_fair)] if len(found) > 1 else found[0]
        if listed is not None:
            best: Array = rows[model.score(rows, branch).argmax()]
            return best

        def score(rows: Array) -> Array:
            scores = model.score(rows, branch)
            scores[~self._is_open(rows)] = -np.inf
            return scores

        return search.climb(rows, score)

    def _branches(self) -> Iterator[int]:
        """Those that the held values allow."""
        space = self._space
        counts = space.counts_in_branch
        for at, row in enumerate(space.branches):
            if all(
                row[fork] == self._held[fork]
                for fork in space.forks
                if fork in self._held and counts[at, fork]
            ):
                yield at

    def _candidates(
        self, model: "BranchModel", search: LocalSearch, branch: int, listed: Array | None
    ) -> Array:
        space = self._space
        if listed is not None:
            return self._open(listed[space.branch(listed) == branch])
        rows = self._drawn(max(_CANDIDATES // len(space.branches), _FEWEST_CANDIDATES))
        rows[:, space.forks] = space.branches[branch][space.forks]
        near = [search.moves(row) for row in model.best_rows(branch, _NEIGHBOURED)]
        return self._open(np.concatenate([rows, *near]))

    def _pick(
        self, model: "BranchModel", found: Sequence[tuple[int, Array]], is_fair: bool
    ) -> int:
        """The branch that has had too few trials, if that counts, else that may gain most."""
        n_branches = len(self._space.branches)
        n_of = np.bincount(self._space.branch(self._seen), minlength=n_branches)
        fewest = min(range(len(found)), key=lambda at: n_of[found[at][0]])
        if is_fair and n_of[found[fewest][0]] < _SHARE / n_branches * len(self._seen):
            return fewest
        gains = [model.promise(rows, branch) for branch, rows in found]
        return int(np.argmax(gains))

    def _drawn(self, n: int) -> Array:
        return self._space.spread(self._rng.random((n, len(self._space.names))))

    def _open(self, rows: Array) -> Array:
        rows = rows.copy()
        for at, unit in self._held.items():
            rows[:, at] = unit
        return rows[self._is_open(rows)]

    def _is_open(self, rows: Array) -> Mask:
        is_new = [key not in self._tried_keys for key in self._space.keys(rows)]
        is_open: Mask = self._space.is_allowed(rows) & np.array(is_new, bool)
        return is_open
