"""Trials as Optuna's samplers are shown them: numeric choices on a line, bad ends with a value.

The storage keeps numeric choices as the CategoricalDistribution of their values, which a study
that has begun may not change. To a sampler that is a set of names, so it is shown their places in
order. Some samplers learn from complete trials alone, so a trial that ended badly is shown as
complete with the worst value that was seen.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from sweeper.config.ranges import Choices, Range
from sweeper.config.settings import Scalar
from sweeper.study.attributes import Attr, is_bad, is_known
from sweeper.study.samplers.axis import has_order
from sweeper.study.samplers.optuna import to_distribution
from sweeper.trial import Direction


class ShownTrials:
    """What one process has shown of a study, kept as long as it works on it.

    Args:
        ranges: By dotted name.
        directions: Of the objective's metrics.
    """

    def __init__(self, ranges: Mapping[str, Range], directions: Sequence[Direction]) -> None:
        self._directions = directions
        self._options = {
            name: sorted(values.options)  # type: ignore[type-var]
            for name, values in ranges.items()
            if isinstance(values, Choices) and has_order(values)
        }
        self._distributions = {
            name: IntDistribution(0, len(self._options[name]) - 1)
            if name in self._options
            else to_distribution(values)
            for name, values in ranges.items()
        }
        self._ended: dict[int, _Ended] = {}

    def distribution(self, name: str) -> BaseDistribution:
        """Of a range, as a sampler is shown it."""
        return self._distributions[name]

    def value(self, name: str, shown: Scalar) -> Scalar:
        """What a sampler's answer stands for."""
        if name not in self._options:
            return shown
        assert isinstance(shown, int)
        return self._options[name][shown]

    def trials(self, history: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The trials of a study that have settings, by number."""
        with_settings = [trial for trial in history if trial.params]
        ended = [self._look_at(trial) for trial in with_settings if trial.state.is_finished()]
        worst = self._worst(ended)
        # What a sampler noted of a trial that runs is what it proposed, not what it was given.
        open_ = [
            self.running(t.number, t.params) for t in with_settings if not t.state.is_finished()
        ]
        shown = [_as_complete(t.shown, worst) if t.is_bad and worst else t.shown for t in ended]
        return sorted([*shown, *open_], key=lambda trial: trial.number)

    def running(
        self, number: int, params: Mapping[str, Scalar], *, trial_id: int = -1
    ) -> FrozenTrial:
        """A trial that has these settings and no outcome yet."""
        return FrozenTrial(
            number=number,
            trial_id=trial_id,
            state=TrialState.RUNNING,
            value=None,
            datetime_start=None,
            datetime_complete=None,
            params=self._params(params),
            distributions=self._distributions_of(params),
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )

    def _look_at(self, trial: FrozenTrial) -> "_Ended":
        if is_known(trial):  # what it came to is told in other units each time
            shown = copy.copy(self._on_lines(trial))
            shown.number = -1  # Optuna leaves lower ones out when it looks what all have in common
            return _Ended(shown, is_bad(trial))
        if trial.number not in self._ended:
            self._ended[trial.number] = _Ended(self._on_lines(trial), is_bad(trial))
        return self._ended[trial.number]

    def _on_lines(self, trial: FrozenTrial) -> FrozenTrial:
        if not self._options.keys() & trial.params.keys():
            return trial
        shown = copy.copy(trial)
        shown.params = self._params(trial.params)
        shown.distributions = self._distributions_of(trial.params)
        if Attr.DRAWN_BY not in trial.user_attrs:
            # Drawn by a sampler that was shown names: what cmaes noted is of fewer dimensions.
            shown.system_attrs = {}
        return shown

    def _params(self, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return {
            name: self._options[name].index(value) if name in self._options else value
            for name, value in params.items()
            if name in self._distributions
        }

    def _distributions_of(self, params: Mapping[str, Scalar]) -> dict[str, BaseDistribution]:
        return {name: self._distributions[name] for name in params if name in self._distributions}

    def _worst(self, ended: Sequence["_Ended"]) -> list[float] | None:
        """Of each metric the worst value; None if none was seen."""
        seen = [trial.shown.values for trial in ended if trial.shown.values and not trial.is_bad]
        if not seen:
            return None
        return [
            (min if direction == "maximize" else max)(values)
            for direction, values in zip(self._directions, zip(*seen, strict=True), strict=True)
        ]


class _Ended(NamedTuple):
    """A trial that ended, as it is shown, and whether it ended badly."""

    shown: FrozenTrial
    is_bad: bool


def _as_complete(trial: FrozenTrial, values: Sequence[float]) -> FrozenTrial:
    shown = copy.copy(trial)
    shown.state, shown.values = TrialState.COMPLETE, values
    return shown
