"""Trials as Optuna's samplers are shown them: numeric choices on a line, bad ends with a value.

The storage keeps numeric choices as the CategoricalDistribution of their values, which a study
that has begun may not change. To a sampler that is a set of names, so it is shown their places in
order. Some samplers learn from complete trials alone, so a trial that ended badly is shown as
complete with the worst value that was seen.
"""

import copy
from collections.abc import Mapping, Sequence

from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from sweeper.config.ranges import Choices, Range
from sweeper.config.settings import Scalar
from sweeper.study.attributes import Attr, is_bad
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
        self._ended: dict[int, FrozenTrial] = {}

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
        worst = self._worst(history)
        return [self._with_value(trial, worst) for trial in history if trial.params]

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
            distributions={name: self._distributions[name] for name in params},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )

    def _with_value(self, trial: FrozenTrial, worst: list[float] | None) -> FrozenTrial:
        if not trial.state.is_finished():
            # What a sampler noted of a trial that runs is what it proposed, not what it was given.
            return self.running(trial.number, trial.params)
        if trial.number not in self._ended:
            self._ended[trial.number] = self._on_lines(trial)
        shown = self._ended[trial.number]
        if worst is not None and is_bad(trial):
            shown = copy.copy(shown)
            shown.state, shown.values = TrialState.COMPLETE, worst
        return shown

    def _on_lines(self, trial: FrozenTrial) -> FrozenTrial:
        if not self._options.keys() & trial.params.keys():
            return trial
        shown = copy.copy(trial)
        shown.params = self._params(trial.params)
        shown.distributions = {name: self._distributions[name] for name in trial.params}
        if Attr.DRAWN_BY not in trial.user_attrs:
            # Drawn by a sampler that was shown names: what cmaes noted is of fewer dimensions.
            shown.system_attrs = {}
        return shown

    def _params(self, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return {
            name: self._options[name].index(value) if name in self._options else value
            for name, value in params.items()
        }

    def _worst(self, history: Sequence[FrozenTrial]) -> list[float] | None:
        """Of each metric the worst value that is finite; None if none was seen."""
        seen = [trial.values for trial in history if trial.values and not is_bad(trial)]
        if not seen:
            return None
        return [
            (min if direction == "maximize" else max)(values)
            for direction, values in zip(self._directions, zip(*seen, strict=True), strict=True)
        ]
