"""Optuna's pruners by the names of the study file, and how early they may end a trial."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from optuna import pruners
from optuna.pruners import BasePruner

from sweeper.config.space import most_epochs
from sweeper.config.study import PRUNER_KEYS, PrunerSpec, StudySpec
from sweeper.text import format_count

#: Of the longest trial; ``min_epochs: auto`` prunes nothing before. On curves of 27 epochs over
#: published tables (``benchmarks/search.py``), where what learns fast often ends badly, the first
#: rung at 2 left the lowest mean loss; at 1 it lost slow learners, at 3 too few trials began.
FIRST_SHARE = Fraction(1, 15)
#: Epochs, of trials that have so many; ``auto`` prunes nothing before.
FIRST_LEAST = 2


def min_epochs(n_epochs: int) -> int:
    """Epochs before which ``auto`` lets no trial be pruned.

    Args:
        n_epochs: Of the longest trial, >= 1.

    Returns:
        A number in [1, n_epochs].
    """
    return min(n_epochs, max(FIRST_LEAST, math.ceil(FIRST_SHARE * n_epochs)))


class Epochs(NamedTuple):
    """How many epochs the longest trial of a study has.

    Attributes:
        n: That many, >= 1.
        source: Who says so, for people; empty for the study file.
    """

    n: int
    source: str


@dataclass(frozen=True)
class PrunerUse:
    """Which pruner ends trials, how early, and why.

    Attributes:
        name: As in the study file.
        min_epochs: Epochs before which no trial is pruned; None if it knows none, or not yet.
        n_epochs: Of the longest trial; None if it does not matter, or nobody knows yet.
        why: One line for people.
    """

    name: str
    min_epochs: int | None
    n_epochs: int | None
    why: str

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "name": self.name,
            "min_epochs": self.min_epochs,
            "epochs": self.n_epochs,
            "why": self.why,
        }


def needs_epochs(spec: PrunerSpec) -> bool:
    """Whether the pruner must know how many epochs a trial has before it can prune any."""
    is_auto = "min_epochs" in PRUNER_KEYS[spec.name] and spec.min_epochs == "auto"
    return is_auto or spec.name == "hyperband"


def epochs_of(spec: StudySpec) -> Epochs | None:
    """Epochs of the longest trial as the study file says them; None if it does not."""
    n_epochs = most_epochs(spec)
    return None if n_epochs is None else Epochs(n_epochs, "")


def explain_pruner(spec: PrunerSpec, epochs: Epochs | None) -> PrunerUse:
    """Which pruner it is, from when on it prunes, and why.

    Args:
        spec: Of the study file.
        epochs: Of the longest trial; None if nobody knows yet.
    """
    if spec.name == "none":
        return PrunerUse(spec.name, None, None, "nothing is pruned")
    if spec.name == "patient":
        why = f"a trial ends after {spec.patience} epochs without improvement"
        return PrunerUse(spec.name, None, None, why)
    if epochs is None and needs_epochs(spec):
        why = (
            "nothing is pruned until a trial is complete, as nobody says how many epochs there "
            "are: give the file train.epochs, or let train.function call trial.plan_epochs(n)"
        )
        return PrunerUse(spec.name, None, None, why)
    first = _first(spec, epochs)
    source = f"; {epochs.source}" if epochs and epochs.source else ""
    if epochs and first > epochs.n:
        length = format_count(epochs.n, "epoch")
        why = f"nothing is pruned, as min_epochs is {first} and the longest trial has {length}"
        return PrunerUse(spec.name, first, epochs.n, f"{why}{source}")
    begin = "first rung after" if spec.name in ("asha", "hyperband") else "no trial ends before"
    whole = f" of {epochs.n}" if epochs else ""
    reason = "as the study file says"
    if spec.min_epochs == "auto":
        reason = f"auto takes {FIRST_SHARE} of the longest trial, at least {FIRST_LEAST}"
    why = f"{begin} epoch {first}{whole}, {reason}{source}"
    return PrunerUse(spec.name, first, epochs.n if epochs else None, why)


def build_pruner(spec: PrunerSpec, epochs: Epochs | None) -> BasePruner:
    """An Optuna pruner; epochs are its steps, counted from 1.

    Args:
        spec: Of the study file.
        epochs: Of the longest trial; None if nobody knows yet, and then nothing is pruned by one
            that must know.
    """
    if spec.name == "patient":
        return pruners.PatientPruner(None, patience=spec.patience)
    if spec.name == "none" or (epochs is None and needs_epochs(spec)):
        return pruners.NopPruner()
    first = _first(spec, epochs)
    if epochs and first > epochs.n:
        return pruners.NopPruner()
    if spec.name == "asha":
        return pruners.SuccessiveHalvingPruner(
            min_resource=first, reduction_factor=spec.reduction_factor
        )
    if spec.name == "hyperband":
        assert epochs is not None
        return pruners.HyperbandPruner(
            min_resource=first, max_resource=epochs.n, reduction_factor=spec.reduction_factor
        )
    if spec.name == "median":
        return pruners.MedianPruner(n_startup_trials=spec.startup_trials, n_warmup_steps=first)
    assert spec.name == "percentile", spec.name
    return pruners.PercentilePruner(
        spec.percentile, n_startup_trials=spec.startup_trials, n_warmup_steps=first
    )


def _first(spec: PrunerSpec, epochs: Epochs | None) -> int:
    if spec.min_epochs != "auto":
        return spec.min_epochs
    assert epochs is not None
    return min_epochs(epochs.n)
