"""Optuna's samplers behind the interface of ours."""

import copy
from collections.abc import Callable, Container, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, _filter_study
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from sweeper.config.ranges import Range
from sweeper.config.settings import Scalar
from sweeper.config.space import is_forbidden, suggest_config
from sweeper.config.study import StudySpec
from sweeper.durable import Step, durable
from sweeper.study.attributes import is_known
from sweeper.study.samplers.auto import GP_STARTUP
from sweeper.study.samplers.axis import Array
from sweeper.study.samplers.choice import Choice
from sweeper.study.samplers.fallback import Fallback
from sweeper.study.samplers.latent import LatentSpace
from sweeper.study.samplers.optuna import build_sampler
from sweeper.study.samplers.proposal import FALLBACK, IsTried, Proposal, Request, or_proposed
from sweeper.study.samplers.seeds import draw_seed
from sweeper.study.samplers.shown_trials import ShownTrials

#: That learn nothing, so that a long history need not be shown.
_BLIND = ("random", "grid")
#: In the names of what tpe and gp note of a trial before it has its params.
_PROPOSED = ":relative_params"


class OptunaSampler:
    """One of Optuna's samplers, told the truth: see :mod:`sweeper.study.samplers.shown_trials`.

    A new one is built for each trial, so that an answer depends on seed and history alone. One
    that is forbidden or was tried is replaced by the nearest setting that is neither.

    Args:
        name: Any of the study file's sampler names but ``auto`` and ``conditional_gp``.
        spec: The study file.
        storage: Of the study; samplers keep notes in it.
        study_id: In that storage.
        pruner: Of the study; under hyperband a sampler sees the trials of one bracket.
    """

    def __init__(
        self,
        name: str,
        spec: StudySpec,
        *,
        storage: BaseStorage,
        study_id: int,
        pruner: Callable[[], BasePruner],
    ) -> None:
        self._name = name
        self._spec = spec
        self._storage = storage
        self._study_id = study_id
        self._pruner = pruner
        self._shown = ShownTrials(spec.ranges(), spec.objective.directions)

    def explain(self, history: Sequence[FrozenTrial], is_tried: IsTried) -> None:
        """Nothing: what Optuna's samplers have learnt is theirs."""

    def ask(
        self, history: Sequence[FrozenTrial], requests: Sequence[Request], is_tried: IsTried
    ) -> list[Proposal]:
        """See :class:`~sweeper.study.samplers.proposal.Sampler`."""
        shown = [] if self._name in _BLIND else self._shown.trials(history)
        proposals: list[Proposal] = []
        is_taken = or_proposed(is_tried, proposals)
        for request in requests:
            values, name = self._draw(request, shown)
            proposal = Proposal(values, name)
            if is_forbidden(self._spec, values) or is_taken(values):
                proposal = Proposal(self._instead_of(values, request, is_taken), FALLBACK)
            proposals.append(proposal)
            shown.append(self._shown.running(request.number, proposal.values))
        return proposals

    def _draw(
        self, request: Request, shown: Sequence[FrozenTrial]
    ) -> tuple[Mapping[str, Scalar], str]:
        """The sampler's own answer, and its name."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(
            self._study_id, request.number
        )
        trial = self._shown.running(request.number, {}, trial_id=trial_id)
        own = [each for each in shown if not is_known(each)]
        bracket = _filter_study(self._study(own), trial).get_trials(deepcopy=False)
        study = self._study([*filter(is_known, shown), *bracket])
        name = self._fitting(study)
        seed = draw_seed(self._spec.seed, request.number)
        sampler = build_sampler(name, seed=seed, study_seed=self._spec.seed)
        sampler.before_trial(study, trial)
        space = sampler.infer_relative_search_space(study, trial)
        relative = sampler.sample_relative(study, trial, space)
        values: dict[str, Scalar] = {}

        def suggest(name: str, _: Range) -> Scalar:
            if name in request.given:
                values[name] = request.given[name]
            else:
                answer = (
                    relative[name]
                    if name in relative
                    else sampler.sample_independent(
                        study, trial, name, self._shown.distribution(name)
                    )
                )
                values[name] = self._shown.value(name, answer)
            return values[name]

        suggest_config(self._spec, suggest, seed=0)
        return values, name

    def _study(self, shown: Sequence[FrozenTrial]) -> optuna.Study:
        """One that has these trials."""
        storage: Any = Excerpt(self._storage, shown)
        nobody = build_sampler("random", seed=0)
        return optuna.Study(self._spec.name, storage, sampler=nobody, pruner=self._pruner())

    def _fitting(self, study: optuna.Study) -> str:
        """The sampler, or what draws while it has too little to learn from."""
        if self._name != "gp":
            return self._name
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return "gp" if len(complete) >= GP_STARTUP else "tpe"

    def _instead_of(
        self, values: Mapping[str, Scalar], request: Request, is_tried: IsTried
    ) -> Mapping[str, Scalar]:
        space = self._space
        rng = np.random.default_rng(draw_seed(self._spec.seed, request.number))
        nothing: Array = np.empty((0, len(space.names)))
        choice = Choice(space, space.held(request.given), nothing, rng, is_tried)
        wanted = space.row(values, rng.random(len(space.names)))
        return space.params(self._fallback.find(request, choice, is_tried, wanted))

    @cached_property
    def _space(self) -> LatentSpace:
        return LatentSpace(self._spec)

    @cached_property
    def _fallback(self) -> Fallback:
        return Fallback(self._spec, self._space)


class Excerpt:
    """A storage that shows only some trials of its study; nearly all else is the storage's own.

    An Optuna sampler reads whatever it learns from through ``get_all_trials``. What it would let
    others know of a trial that it draws is not written: the trial's params are, a moment later.
    """

    def __init__(self, storage: BaseStorage, trials: Sequence[FrozenTrial]) -> None:
        self._storage = storage
        self._trials = trials

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The trials that are shown, as :class:`optuna.storages.BaseStorage` has it."""
        shown = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(shown) if deepcopy else shown

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As :class:`optuna.storages.BaseStorage` has it."""
        if _PROPOSED not in key:
            with durable(Step.DRAW):
                self._storage.set_trial_system_attr(trial_id, key, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)
