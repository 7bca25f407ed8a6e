"""Optuna's pruners by the names of the study file."""

from optuna import pruners
from optuna.pruners import BasePruner

from sweeper.config.study import PrunerSpec


def build_pruner(spec: PrunerSpec) -> BasePruner:
    """An Optuna pruner; epochs are its steps, counted from 1."""
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
