"""What an earlier study measured, in the units of this one.

Fewer epochs, other data or another seed make all of it better or worse. So a model of the earlier
trials says what is expected of the settings that this study has tried, and by as much as that is
off at the median, all of them are moved. They are not stretched as well: on published tables, with
figures that were three times or a hundred times as large there, that gained nothing. Where what
was expected to be good turns out to be bad, they are left out.
"""

import copy
from collections.abc import Sequence
from functools import cache

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from sweeper.config.study import StudySpec
from sweeper.study.attributes import is_bad, is_known
from sweeper.study.samplers.axis import Array
from sweeper.study.samplers.gaussian_process import GaussianProcess
from sweeper.study.samplers.latent import LatentSpace
from sweeper.study.samplers.observations import MOST_OBSERVATIONS, rank, warp

#: Trials of the study that may say that the earlier one misleads, and the correlation of their
#: ranks with what was expected that says so. On a table turned upside down the search was nearly
#: level again after 30 trials, and far behind without this; on the same table nothing was lost.
_FEWEST_OWN, _CONTRARY = 5, -0.3
#: Fewer say nothing of a setting that they have not.
_FEWEST = 3


class Alignment:
    """Moves trials of an earlier study.

    Args:
        spec: The study file.
        known: Of the earlier study, the most telling first.
    """

    def __init__(self, spec: StudySpec, known: Sequence[FrozenTrial]) -> None:
        self._space = LatentSpace(spec)
        self._signs = spec.objective.signs
        complete = [trial for trial in known if trial.state == TrialState.COMPLETE]
        self._complete = complete[:MOST_OBSERVATIONS]
        self._expectation = cache(self._build)

    def align(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The same trials; those of the earlier study have other values, or are left out.

        Args:
            trials: Of both studies, by number.
        """
        own = [trial for trial in trials if not is_known(trial)]
        ended = [t for t in own if t.state == TrialState.COMPLETE and not is_bad(t)]
        if not ended or len(self._complete) < _FEWEST:
            return list(trials)
        rows, offsets, agreement = self._rows(ended), [], []
        for metric, sign in enumerate(self._signs):
            expected = self._expectation(metric).of(rows)
            seen = np.array([sign * trial.values[metric] for trial in ended])
            # A median, so that some that are far off do no harm.
            offsets.append(sign * float(np.median(seen - expected)))
            agreement.append(_rank_correlation(expected, seen))
        if len(ended) >= _FEWEST_OWN and np.mean(agreement) < _CONTRARY:
            return own
        return [_moved(trial, offsets) if is_known(trial) else trial for trial in trials]

    def _build(self, metric: int) -> "_Expectation":
        sign = self._signs[metric]
        losses = np.array([sign * trial.values[metric] for trial in self._complete])
        return _Expectation(self._space, self._rows(self._complete), losses)

    def _rows(self, trials: Sequence[FrozenTrial]) -> Array:
        middle = np.full(len(self._space.names), 0.5)
        return np.array([self._space.row(trial.params, middle) for trial in trials])


class _Expectation:
    """Losses of any setting, by those of some."""

    def __init__(self, space: LatentSpace, rows: Array, losses: Array) -> None:
        self._space = space
        warped = warp(losses, by_rank=False)
        order = np.argsort(warped)
        self._warped, self._losses = warped[order], losses[order]
        self._middle, self._unit = float(np.mean(warped)), max(float(np.std(warped)), 1e-12)
        everything = np.ones(len(rows), bool)
        outcomes = (warped - self._middle) / self._unit
        self._process = GaussianProcess(space.embed(rows), outcomes, space.column, everything)

    def of(self, rows: Array) -> Array:
        mean = self._process.predict(self._space.embed(rows))[0][:, 0]
        losses: Array = np.interp(self._middle + self._unit * mean, self._warped, self._losses)
        return losses


def _rank_correlation(expected: Array, seen: Array) -> float:
    """In [-1, 1]; 0 if one of them is the same throughout.

    Source: Spearman 1904.
    """
    a, b = (rank(losses) - (len(losses) + 1) / 2 for losses in (expected, seen))
    norm = float(np.sqrt(a @ a * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def _moved(trial: FrozenTrial, offsets: Sequence[float]) -> FrozenTrial:
    if not trial.values:
        return trial
    moved = copy.copy(trial)
    moved.values = [value + by for value, by in zip(trial.values, offsets, strict=True)]
    moved.intermediate_values = {
        epoch: value + offsets[0] for epoch, value in trial.intermediate_values.items()
    }
    return moved
