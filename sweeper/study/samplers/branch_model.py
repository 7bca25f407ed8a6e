"""What a study's trials say of settings that were not tried, in every branch of its space."""

import math

import numpy as np
from scipy.special import ndtr

from sweeper.study.samplers.acquisition import log_expected_improvement, promise
from sweeper.study.samplers.axis import Array, Indices, Mask
from sweeper.study.samplers.gaussian_process import GaussianProcess
from sweeper.study.samplers.latent import LatentSpace
from sweeper.study.samplers.observations import warp

#: Trials' worth of common mean and scale in each branch.
_SHRINK = 3.0
#: Alternatives of what the running trials may end with.
_ALTERNATIVES = 16


class BranchModel:
    """One Gaussian process over all branches, with a mean and a scale of outcomes in each.

    Args:
        space: The search space.
        rows: Latent rows of what was observed [n, ranges].
        losses: Lower is better; infinite for the worst, but not all [n].
        reach: How far training was, in (0, 1] [n].
        is_known: Which of them are of an earlier study: whether these say something of this one
            is learnt as well, and none of them is what is to be undercut; None for none [n].
    """

    def __init__(
        self,
        space: LatentSpace,
        rows: Array,
        losses: Array,
        reach: Array,
        is_known: Mask | None = None,
    ) -> None:
        self._space = space
        self._rows = rows
        self._branch = space.branch(rows)
        warped = warp(losses, by_rank=len(space.branches) == 1)
        self._offset, self._scale = _units(self._branch, warped, len(space.branches))
        is_finite = np.isfinite(losses)
        self._losses, self._warped = losses[is_finite], warped[is_finite]
        is_known = np.zeros(len(rows), bool) if is_known is None else is_known
        self._is_own = ~is_known
        self._known = np.column_stack([space.embed(rows), reach, is_known])
        self._outcomes = (warped - self._offset[self._branch]) / self._scale[self._branch]
        column = np.append(space.column, len(space.names) + np.arange(2))
        self._process = GaussianProcess(self._known, self._outcomes, column, is_finite)
        expected = self._process.predict(space.embed_at_end(rows))[0][:, 0]
        #: What is expected at the end of each, without noise [n].
        self._ends = self._offset[self._branch] + self._scale[self._branch] * expected
        #: What it did end with; where that was not seen, what is expected [n].
        self._seen = np.where(reach == 1, warped, self._ends)
        self._targets = self._find_targets()[:, None]

    @property
    def lengths(self) -> Array:
        """Of each range, in units of the whole of it: the shorter, the more it matters."""
        lengths: Array = self._process.lengths[:-2]
        return lengths

    def best_rows(self, branch: int, most: int) -> Array:
        """Those observed in a branch that are expected to end best."""
        order = np.argsort(self._ends, kind="stable")
        best: Array = self._rows[order[self._branch[order] == branch][:most]]
        return best

    def assume(self, pending: Array, rng: np.random.Generator) -> None:
        """Take trials into account that run, in place of those of an earlier call.

        Args:
            pending: Their latent rows [p, ranges].
            rng: Of the outcomes that are drawn for them.
        """
        from scipy.stats import qmc  # a third of a second, which `status` does without

        known = np.repeat(self._outcomes[:, None], _ALTERNATIVES, axis=1)
        self._process.condition(self._known, known)
        at = self._space.embed_at_end(pending)
        normal = qmc.MultivariateNormalQMC(np.zeros(len(at)), seed=rng).random(_ALTERNATIVES)
        drawn = self._process.draw(at, normal.T)
        self._process.condition(np.concatenate([self._known, at]), np.concatenate([known, drawn]))
        self._targets = np.repeat(self._find_targets()[:, None], _ALTERNATIVES, axis=1)
        for branch, outcomes in zip(self._space.branch(pending), drawn, strict=True):
            self._targets[branch] = np.minimum(self._targets[branch], outcomes)

    def score(self, rows: Array, branch: int) -> Array:
        """Log of what each row of a branch may gain upon the best that was seen in it [m].

        What is seen of a row has noise, and people keep the best that was seen; so both have it.
        """
        mean, deviation = self._process.predict(self._space.embed_at_end(rows))
        deviation = np.sqrt(deviation**2 + self._process.noise)
        return log_expected_improvement(mean, deviation, self._targets[branch])

    def promise(self, rows: Array, branch: int) -> float:
        """What the best of some rows of a branch may gain upon the best of all."""
        mean, deviation = self._process.predict(self._space.embed_at_end(rows))
        mean = self._offset[branch] + self._scale[branch] * mean.mean(axis=1)
        return promise(mean, self._scale[branch] * deviation, self._mark(self._ends))

    def expect(self, row: Array) -> tuple[float, float]:
        """The loss of a row, and the chance that what is seen of it is the best of all."""
        branch = self._space.branch(row[None])[0]
        mean, deviation = self._process.predict(self._space.embed_at_end(row[None]))
        warped = self._offset[branch] + self._scale[branch] * float(mean.mean())
        spread = self._scale[branch] * math.sqrt(float(deviation[0]) ** 2 + self._process.noise)
        chance = ndtr((self._mark(self._seen) - warped) / spread)
        return self._unwarp(warped), float(chance)

    def _unwarp(self, warped: float) -> float:
        """The loss that is warped to a value, by a line beyond the best one."""
        order = np.argsort(self._warped)
        known, losses = self._warped[order], self._losses[order]
        if warped >= known[0]:
            return float(np.interp(warped, known, losses))
        middle = len(known) // 2
        slope = (losses[middle] - losses[0]) / max(known[middle] - known[0], 1e-12)
        return float(losses[0] + slope * (warped - known[0]))

    def _find_targets(self) -> Array:
        """What is to be undercut in each branch, in its own units [branches]."""
        best = np.full(len(self._offset), self._mark(self._seen))
        for branch in np.unique(self._branch[self._is_own]):
            best[branch] = np.min(self._seen[self._is_own & (self._branch == branch)])
        return (best - self._offset) / self._scale

    def _mark(self, ends: Array) -> float:
        """The best of this study's own; before there is any, what half of the others undercut."""
        own = ends[self._is_own]
        return float(np.min(own) if len(own) else np.median(ends))


def _units(branch: Indices, outcomes: Array, n_branches: int) -> tuple[Array, Array]:
    """Mean and scale of each branch, drawn towards those of all."""
    mean, scale = np.mean(outcomes), max(float(np.std(outcomes)), 1e-9)
    offsets, scales = np.empty(n_branches), np.empty(n_branches)
    for at in range(n_branches):
        own = outcomes[branch == at]
        offsets[at] = (_SHRINK * mean + own.sum()) / (_SHRINK + len(own))
        squares = _SHRINK * scale**2 + np.sum((own - offsets[at]) ** 2)
        scales[at] = max(math.sqrt(squares / (_SHRINK + len(own))), 1e-9)
    return offsets, scales
