"""Optuna's samplers by the names of the study file, and its distributions of our ranges."""

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler

from sweeper.config.ranges import FloatRange, IntRange, Range
from sweeper.study.samplers.auto import GP_STARTUP


def build_sampler(name: str, *, seed: int, study_seed: int = 0) -> BaseSampler:
    """An Optuna sampler. ``grid`` needs none: its points are waiting in the storage.

    Args:
        name: Any of the study file's sampler names but ``auto`` and ``conditional_gp``.
        seed: Of this draw, in [0, 2**32).
        study_seed: Of the one low-discrepancy sequence that all draws of a study share.
    """
    samplers = optuna.samplers
    if name == "gp":
        return samplers.GPSampler(
            seed=seed, n_startup_trials=GP_STARTUP, warn_independent_sampling=False
        )
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


def to_distribution(values: Range) -> BaseDistribution:
    """The Optuna distribution of a range."""
    if isinstance(values, FloatRange):
        return FloatDistribution(values.low, values.high, log=values.log, step=values.step)
    if isinstance(values, IntRange):
        return IntDistribution(values.low, values.high, log=values.log, step=values.step)
    return CategoricalDistribution(values.options)
