"""The sampler ``conditional_gp``: one Gaussian process over all branches of a search space.

What does not count in a branch is imputed at its middle, so that one kernel spans all branches;
each branch has a mean and a scale of outcomes of its own, drawn towards the common ones. The
branch is the one whose best point is expected to gain most; the point in it has the highest log
expected improvement upon the branch's own best. A pruned trial teaches at each rung, with the
epoch as one more parameter; one that diverged counts as the worst. What runs is taken into account
by outcomes drawn for it. No setting is proposed twice while another is left.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property

import numpy as np
from optuna.trial import FrozenTrial

from sweeper.config.defaults import default_values
from sweeper.config.study import StudySpec
from sweeper.study.attributes import is_bad, is_known, state_of
from sweeper.study.samplers.axis import Array
from sweeper.study.samplers.branch_model import BranchModel
from sweeper.study.samplers.choice import Choice
from sweeper.study.samplers.fallback import Fallback
from sweeper.study.samplers.latent import LatentSpace
from sweeper.study.samplers.model_view import ModelView
from sweeper.study.samplers.observations import observe, observe_several
from sweeper.study.samplers.proposal import (
    DEFAULT,
    FALLBACK,
    MODEL,
    SOBOL,
    IsTried,
    Proposal,
    Request,
    or_proposed,
)
from sweeper.trial import TrialState

#: Trials before the model draws, at least and at most, and between them the share of a study's
#: trials: few are better than many (Bossek et al. 2020, arXiv:2003.13826).
_FEWEST_STARTUP, _MOST_STARTUP, _STARTUP_SHARE = 6, 10, Fraction(1, 3)
#: Of each branch at least, but of all together no more than so many.
_STARTUP_A_BRANCH, _STARTUP_OF_BRANCHES = 3, 20
#: Of them no more begin at sweeper's defaults.
_DEFAULTS_SHARE = Fraction(1, 2)
#: Points of the Sobol sequence of which the first that is allowed is taken.
_FORBIDDEN_POINTS = 4095
#: A space with no more settings is gone through as a whole.
_MOST_LISTED = 1024


class ConditionalGP:
    """See the module.

    Args:
        spec: The study file.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec
        self._space = LatentSpace(spec)
        self._signs = spec.objective.signs
        n_branches = len(self._space.branches)
        share = math.floor(_STARTUP_SHARE * spec.n_trials)
        self._startup = max(
            min(max(share, _FEWEST_STARTUP), _MOST_STARTUP),
            min(_STARTUP_A_BRANCH * n_branches, _STARTUP_OF_BRANCHES),
        )
        self._row_of: dict[int, Array] = {}
        self._fallback = Fallback(spec, self._space)

    def ask(
        self, history: Sequence[FrozenTrial], requests: Sequence[Request], is_tried: IsTried
    ) -> list[Proposal]:
        """See :class:`~sweeper.study.samplers.proposal.Sampler`."""
        trials = [trial for trial in history if trial.params]
        known = self._stack([self._row(trial) for trial in trials if is_known(trial)])
        tried = [self._row(trial) for trial in trials if not is_known(trial)]
        pending = [self._row(trial) for trial in trials if not trial.state.is_finished()]
        model = None
        proposals: list[Proposal] = []
        is_taken = or_proposed(is_tried, proposals)
        for request in requests:
            rng = np.random.default_rng([self._spec.seed % 2**63, request.number])
            held = self._space.held(request.given)
            choice = Choice(self._space, held, self._stack(tried), rng, is_taken, known)
            if model is None or len(self._signs) > 1:
                model = self._fit(trials, rng)
            if model is not None and pending:
                model.assume(self._stack(pending), rng)
            row, drawn_by = self._choose(choice, model, request.number, knows=len(known) > 0)
            if row is None or drawn_by == FALLBACK:
                row = self._fallback.find(request, choice, is_taken, row)
            tried.append(row)
            pending.append(row)
            proposals.append(Proposal(self._space.params(row), drawn_by))
        return proposals

    def explain(self, history: Sequence[FrozenTrial], is_tried: IsTried) -> ModelView | None:
        """See :class:`~sweeper.study.samplers.proposal.Sampler`."""
        trials = [trial for trial in history if trial.params]
        rng = np.random.default_rng(self._spec.seed % 2**63)
        own = [trial for trial in trials if not is_known(trial)]
        has_ended = any(trial.state.is_finished() for trial in own)
        model = self._fit(trials, rng) if has_ended and len(self._signs) == 1 else None
        if model is None:
            return None
        tried = self._stack([self._row(trial) for trial in own])
        choice = Choice(self._space, {}, tried, rng, is_tried)
        row = choice.best(model, self._listed, is_fair=False)
        if row is None:
            return None
        loss, chance = model.expect(row)
        each = sorted(zip(model.lengths, self._space.names, strict=True))
        lengths = {name: float(length) for length, name in each}
        return ModelView(lengths, self._space.params(row), self._signs[0] * loss, chance)

    def _choose(
        self, choice: Choice, model: BranchModel | None, number: int, *, knows: bool
    ) -> tuple[Array | None, str]:
        """A row and what drew it; what there is to fall back on if it may not be had.

        Whoever knows an earlier study has no need of trials by default.
        """
        if model is None:
            row, drawn_by = None if knows else choice.first(self._defaults), DEFAULT
            if row is None:
                row, drawn_by = choice.first(self._sequence(number)), SOBOL
        else:
            row, drawn_by = choice.best(model, self._listed), MODEL
        is_open = row is not None and choice.first(row[None]) is not None
        return row, drawn_by if is_open else FALLBACK

    def _fit(self, trials: Sequence[FrozenTrial], rng: np.random.Generator) -> BranchModel | None:
        """None before enough is seen to make a model of; of several metrics by weights drawn."""
        teaching = [t for t in trials if state_of(t) != TrialState.FAILED or is_bad(t)]
        bad = list(map(is_bad, teaching))
        if len(self._signs) == 1:
            points = self._space.embed(self._stack([self._row(trial) for trial in teaching]))
            seen = observe(teaching, self._signs[0], is_bad=bad, points=points)
        else:
            weights = rng.dirichlet(np.ones(len(self._signs)))
            seen = observe_several(teaching, self._signs, is_bad=bad, weights=weights)
        losses = np.array(seen.losses)
        if seen.n_trials < self._startup or len(np.unique(losses[np.isfinite(losses)])) < 2:
            return None
        rows = self._stack([self._row(trial) for trial in seen.trials])
        known = np.array([is_known(trial) for trial in seen.trials])
        return BranchModel(self._space, rows, losses, np.array(seen.reach), known)

    def _row(self, trial: FrozenTrial) -> Array:
        if trial.number in self._row_of:
            return self._row_of[trial.number]
        seed = [1, -trial.number] if is_known(trial) else trial.number
        draws = np.random.default_rng(seed).random(len(self._space.names))
        row = self._space.row(trial.params, draws)
        if trial.state.is_finished():
            self._row_of[trial.number] = row
        return row

    def _stack(self, rows: Sequence[Array]) -> Array:
        return np.array(rows).reshape(-1, len(self._space.names))

    @cached_property
    def _defaults(self) -> Array:
        """Of the first branches a row with sweeper's own defaults, where there are any [rows, n].

        The rest of each is a point of the sequence.
        """
        space, rows = self._space, []
        branches = space.branches[: math.floor(_DEFAULTS_SHARE * self._startup)]
        for branch, row in zip(branches, self._sequence(0), strict=False):
            row[space.forks] = branch[space.forks]
            units = space.nearest(default_values(self._spec, space.params(row)))
            units = {at: unit for at, unit in units.items() if at not in space.forks}
            row[list(units)] = list(units.values())
            rows += [row] if units else []
        return self._stack(rows)

    def _sequence(self, number: int) -> Array:
        """Points of the Sobol sequence that the study's trials share, from that of one on."""
        from scipy.stats import qmc  # a third of a second, which `status` does without

        n_names = len(self._space.names)
        sobol = qmc.Sobol(n_names, seed=np.random.default_rng(self._spec.seed % 2**63))
        n_points = (
            2 ** max(number + 1, _FORBIDDEN_POINTS if self._spec.forbid else 32).bit_length()
        )
        return self._space.spread(sobol.random(n_points))[number:]

    @cached_property
    def _listed(self) -> Array | None:
        return self._space.listed(_MOST_LISTED)
