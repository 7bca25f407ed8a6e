"""The settings of one trial, drawn by a sampler.

Values are drawn in memory first and written to the storage once they are accepted, so that a
forbidden or repeated setting can be drawn again within the same trial.
"""

import logging
from collections.abc import Callable, Iterator, Mapping

import optuna
from optuna.pruners import _filter_study
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from sweeper.config.ranges import Range
from sweeper.config.settings import Scalar, TrialConfig
from sweeper.config.space import is_forbidden, suggest_config
from sweeper.config.study import StudySpec
from sweeper.errors import StudyError
from sweeper.study.samplers.optuna import build_sampler, to_distribution
from sweeper.study.samplers.seeds import draw_seed, trial_seed

log = logging.getLogger("sweeper")

#: Draws by the study's sampler, then by a uniform one, before a setting is taken as it is.
_REDRAWS = 10
_UNIFORM_REDRAWS = 1000


def draw_config(
    study: optuna.Study,
    trial: FrozenTrial,
    spec: StudySpec,
    *,
    sampler_name: str,
    is_tried: Callable[[Mapping[str, Scalar]], bool],
) -> tuple[TrialConfig, Mapping[str, Scalar]]:
    """Settings for a claimed trial.

    What the trial has already (it was interrupted) or was enqueued with stays; the sampler draws
    the rest. A forbidden or repeated setting is drawn again a bounded number of times; after
    that a repeated one runs with its own seed, and a forbidden one is replaced by a uniform draw.

    Args:
        study: A fresh handle: Optuna caches the history in it while drawing.
        trial: In state RUNNING.
        spec: The study file.
        sampler_name: Any of the study file's sampler names but ``auto``.
        is_tried: Whether another trial has that setting, which is then drawn again.

    Returns:
        The settings, and those of them that were searched, by dotted name.

    Raises:
        StudyError: If ``forbid`` leaves nothing that could be drawn.
    """
    seed = trial_seed(spec.seed, trial.number)
    for sampler, accept_repeats in _samplers(spec, sampler_name, trial.number):
        draw = _Draw(study, trial, sampler)
        config = suggest_config(spec, draw.suggest, seed=seed)
        if is_forbidden(spec, draw.values):
            continue
        is_new = draw.n_free and not trial.params
        if is_new and not accept_repeats and is_tried(draw.values):
            continue
        return config, draw.values
    raise StudyError(
        f"{spec.place('forbid')}: leaves nothing to draw: {_UNIFORM_REDRAWS} uniform draws were "
        "all forbidden; loosen it"
    )


def _samplers(spec: StudySpec, name: str, number: int) -> Iterator[tuple[BaseSampler, bool]]:
    for attempt in range(_REDRAWS + 1):
        seed = draw_seed(spec.seed, number, attempt)
        yield build_sampler(name, seed=seed, study_seed=spec.seed), attempt == _REDRAWS
    log.warning(
        "trial %d: the %s sampler draws forbidden settings only; drawing uniformly", number, name
    )
    for attempt in range(_UNIFORM_REDRAWS):
        seed = draw_seed(spec.seed, number, _REDRAWS + 1 + attempt)
        yield build_sampler("random", seed=seed), True


class _Draw:
    """One draw of all values, in memory; the steps of ``optuna.Trial`` without its writes."""

    def __init__(self, study: optuna.Study, trial: FrozenTrial, sampler: BaseSampler) -> None:
        self.values: dict[str, Scalar] = {}
        self.n_free = 0
        # Under hyperband a sampler sees the trials of one bracket, as in Optuna's own trials.
        study = _filter_study(study, trial)
        self._study, self._trial, self._sampler = study, trial, sampler
        self._given: Mapping[str, Scalar] = {
            **trial.system_attrs.get("fixed_params", {}),
            **trial.params,
        }
        sampler.before_trial(study, trial)
        self._relative: Mapping[str, Scalar] | None = None

    def suggest(self, name: str, values: Range) -> Scalar:
        self.values[name] = self._given[name] if name in self._given else self._draw(name, values)
        return self.values[name]

    def _draw(self, name: str, values: Range) -> Scalar:
        self.n_free += 1
        distribution = to_distribution(values)
        if self._relative is None:
            space = self._sampler.infer_relative_search_space(self._study, self._trial)
            self._relative = self._sampler.sample_relative(self._study, self._trial, space)
        if name in self._relative:
            return self._relative[name]
        value: Scalar = self._sampler.sample_independent(
            self._study, self._trial, name, distribution
        )
        return value
