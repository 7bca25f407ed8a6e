"""From a study's history to the settings of the next trial: samplers, pruners, drawing.

Values are drawn in memory first and written to the storage once they are accepted, so that a
forbidden or repeated setting can be drawn again within the same trial.
"""

import logging
from collections.abc import Callable, Iterator, Mapping

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import BasePruner, _filter_study
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from sweeper.config.ranges import FloatRange, IntRange, Range
from sweeper.config.settings import Scalar, TrialConfig
from sweeper.config.space import is_forbidden, suggest_config
from sweeper.config.study import PrunerSpec, StudySpec
from sweeper.errors import StudyError
from sweeper.study.samplers.seeds import draw_seed, trial_seed

log = logging.getLogger("sweeper")

#: Up to here gp beats tpe in a flat space (replayed on published tables of an MLP search).
GP_MOST_TRIALS = 200
#: Draws by the study's sampler, then by a uniform one, before a setting is taken as it is.
_REDRAWS = 10
_UNIFORM_REDRAWS = 1000


def choose_sampler(spec: StudySpec) -> tuple[str, str]:
    """The sampler that ``auto`` stands for in this study, and why."""
    if spec.sampler.name != "auto":
        return spec.sampler.name, "named in the study file"
    if not spec.ranges():
        return "random", "nothing is searched"
    if spec.is_conditional:
        return "tpe", "the space is conditional; gp would see only what all branches share"
    if spec.n_trials > GP_MOST_TRIALS:
        return "tpe", f"more than {GP_MOST_TRIALS} trials, where gp's asking gets slow"
    return "gp", f"a flat space and at most {GP_MOST_TRIALS} trials"


#: What ``auto`` takes when asking costs more than a tenth of training.
CHEAPER = {"gp": "tpe", "tpe": "random"}


def build_sampler(name: str, *, seed: int, study_seed: int = 0) -> BaseSampler:
    """An Optuna sampler. ``grid`` needs none: its points are waiting in the storage.

    Args:
        name: Any of the study file's sampler names but ``auto``.
        seed: Of this draw, in [0, 2**32).
        study_seed: Of the one low-discrepancy sequence that all draws of a study share.
    """
    samplers = optuna.samplers
    if name == "gp":
        return samplers.GPSampler(seed=seed, warn_independent_sampling=False)
    if name == "tpe":
        return samplers.TPESampler(seed=seed, multivariate=True, group=True)
    if name == "qmc":
        return samplers.QMCSampler(
            seed=study_seed % 2**32,
            scramble=True,
            independent_sampler=samplers.RandomSampler(seed=seed),
            warn_independent_sampling=False,
        )
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    if name == "nsga2":
        return samplers.NSGAIISampler(seed=seed)
    assert name in ("random", "grid"), name
    return samplers.RandomSampler(seed=seed)


def build_pruner(spec: PrunerSpec) -> BasePruner:
    """An Optuna pruner; epochs are its steps, counted from 1."""
    pruners = optuna.pruners
    if spec.name == "asha":
        return pruners.SuccessiveHalvingPruner(
            min_resource=spec.min_epochs, reduction_factor=spec.reduction_factor
        )
    if spec.name == "hyperband":
        return pruners.HyperbandPruner(
            min_resource=spec.min_epochs, reduction_factor=spec.reduction_factor
        )
    if spec.name == "median":
        return pruners.MedianPruner(
            n_startup_trials=spec.startup_trials, n_warmup_steps=spec.min_epochs
        )
    if spec.name == "percentile":
        return pruners.PercentilePruner(
            spec.percentile, n_startup_trials=spec.startup_trials, n_warmup_steps=spec.min_epochs
        )
    if spec.name == "patient":
        return pruners.PatientPruner(None, patience=spec.patience)
    return pruners.NopPruner()


def to_distribution(values: Range) -> BaseDistribution:
    """The Optuna distribution of a range."""
    if isinstance(values, FloatRange):
        return FloatDistribution(values.low, values.high, log=values.log, step=values.step)
    if isinstance(values, IntRange):
        return IntDistribution(values.low, values.high, log=values.log, step=values.step)
    return CategoricalDistribution(values.options)


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
