"""Trials of an earlier study or experiment, and which of them fit a study's space."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sweeper.config.problems import did_you_mean
from sweeper.config.ranges import Choices, FloatRange, IntRange, Range, contains, option_word
from sweeper.config.settings import Scalar
from sweeper.config.space import is_forbidden, most_epochs, suggest_config
from sweeper.config.study import StudySpec
from sweeper.config.yaml_source import parse_scalar
from sweeper.errors import SpecError
from sweeper.study.warm_start import MOST_KEPT, KnownTrial, WarmStart
from sweeper.trial import TrialState

_Value = TypeVar("_Value")

#: Of those that are kept, the share that is kept for its values.
_BEST = 10
#: Epochs of a curve, beside its last, as a model looks at no more.
_MOST_RUNGS = 6
#: Names in a message.
_MOST_TOLD = 20

_TEACHING = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.DIVERGED)


@dataclass(frozen=True)
class SourceTrial:
    """A trial that ended elsewhere.

    Attributes:
        state: How it ended.
        settings: All that is known of its settings, constants included, by the names there.
        metrics: What it came to, by the names there.
        curve: Epoch -> the one metric that was optimised there; empty where that is not known.
    """

    state: TrialState
    settings: Mapping[str, Scalar]
    metrics: Mapping[str, float]
    curve: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Where trials come from.

    Attributes:
        name: For people: ``trials of NAME``.
        trials: That ended, by the time of their begin.
        n_epochs: Of the longest; None if nobody knows.
    """

    name: str
    trials: Sequence[SourceTrial]
    n_epochs: int | None = None


class _MisfitError(Exception):
    """Why a trial does not fit, in a few words."""


def fit_trials(spec: StudySpec, source: Source) -> WarmStart:
    """What a study takes of them.

    Complete trials teach by their values, those that diverged as settings to keep away from, and
    pruned ones at their epochs if both studies train for as many; failed ones teach nothing.

    Args:
        spec: The study that begins.
        source: The trials.

    Raises:
        SpecError: If a name that is given another one is none there, or no trial fits.
    """
    _check_names(spec, source)
    fitting = _Fitting(spec, source)
    known: list[KnownTrial] = []
    misfits: Counter[str] = Counter()
    for trial in reversed(source.trials):
        try:
            known.append(fitting.fit(trial))
        except _MisfitError as exc:
            misfits[str(exc)] += 1
    warm = WarmStart(
        source.name, len(source.trials), len(known), dict(misfits), _most_telling(spec, known)
    )
    if not any(trial.values for trial in known):
        raise SpecError(
            f"{spec.place('warm_start.from')}: {warm.told}; "
            f"{fitting.explain_varied()}. Widen the ranges, or let warm_start.rename say which "
            "names there mean what here, or drop warm_start"
        )
    return warm


def _check_names(spec: StudySpec, source: Source) -> None:
    assert spec.warm_start is not None
    names = {name: None for t in source.trials for name in (*t.settings, *t.metrics)}
    faults = [
        f"{spec.place(f'warm_start.rename.{old}')}: the {source.name} have no such "
        f"name{did_you_mean(old, names)}"
        for old in spec.warm_start.rename
        if old not in names
    ]
    if faults and source.trials:
        raise SpecError("\n".join(faults))


class _Fitting:
    """Holds trials against a study's space."""

    def __init__(self, spec: StudySpec, source: Source) -> None:
        assert spec.warm_start is not None
        self._spec = spec
        self._rename = spec.warm_start.rename
        n_epochs = most_epochs(spec)
        self._has_curves = (
            len(spec.objective.metrics) == 1 and n_epochs is not None
        ) and n_epochs == source.n_epochs
        self._rungs = _rungs(source.trials)
        settings = [self._named(trial.settings) for trial in source.trials]
        names = {name for each in settings for name in each}
        #: Names here of what was varied there.
        self._varied = {
            name
            for name in names
            if len({str(each[name]) for each in settings if name in each}) > 1
        }

    def fit(self, trial: SourceTrial) -> KnownTrial:
        """The trial in this space.

        Raises:
            _MisfitError: If it does not fit, or teaches nothing.
        """
        state = trial.state
        if state not in _TEACHING:
            raise _MisfitError(state.value)
        if state is TrialState.PRUNED and not self._has_curves:
            raise _MisfitError("pruned, after epochs that do not compare")
        values = [] if state is TrialState.DIVERGED else self._values(trial)
        params = self._params(self._named(trial.settings))
        curve = dict(self._curve(trial)) if self._has_curves and values else {}
        return KnownTrial(state.value, params, values, curve)  # type: ignore[arg-type]

    def explain_varied(self) -> str:
        """Which names were varied there, for whoever looks for the right ones."""
        names = sorted(self._varied)[:_MOST_TOLD]
        more = ", ..." if len(self._varied) > len(names) else ""
        return (
            f"what varied there is {', '.join(names)}{more}" if names else "nothing varied there"
        )

    def _named(self, there: Mapping[str, _Value]) -> dict[str, _Value]:
        """By the names that settings and metrics have here."""
        renamed = {self._rename[name]: there[name] for name in self._rename if name in there}
        return {**there, **renamed}

    def _values(self, trial: SourceTrial) -> list[float]:
        metrics = self._named(trial.metrics)
        for name in self._spec.objective.metrics:
            if not math.isfinite(metrics.get(name, math.nan)):
                raise _MisfitError(f"no {name}")
        return [float(metrics[name]) for name in self._spec.objective.metrics]

    def _params(self, settings: Mapping[str, Scalar]) -> dict[str, Scalar]:
        params: dict[str, Scalar] = {}

        def suggest(name: str, values: Range) -> Scalar:
            if name not in settings:
                raise _MisfitError(f"{name} unknown")
            params[name] = _within(values, name, settings[name])
            return params[name]

        constants = suggest_config(self._spec, suggest, seed=0).params
        for name in sorted(self._varied & settings.keys() & (constants.keys() - params.keys())):
            if not _is_same(constants[name], settings[name]):
                raise _MisfitError(f"{name} not {constants[name]}")
        if is_forbidden(self._spec, params):
            raise _MisfitError("ruled out by forbid")
        return params

    def _curve(self, trial: SourceTrial) -> Iterator[tuple[int, float]]:
        last = max(trial.curve, default=0)
        for epoch, value in trial.curve.items():
            if epoch in self._rungs or epoch == last:
                yield epoch, float(value)


def _rungs(trials: Sequence[SourceTrial]) -> set[int]:
    """Some of the epochs after which trials were pruned."""
    pruned = (trial for trial in trials if trial.state == TrialState.PRUNED and trial.curve)
    stops = sorted({max(trial.curve) for trial in pruned})
    n = min(len(stops), _MOST_RUNGS)
    return {stops[round(at * (len(stops) - 1) / max(n - 1, 1))] for at in range(n)}


def _within(values: Range, name: str, value: Scalar) -> Scalar:
    """A value as one of the range; MLflow keeps texts alone."""
    if isinstance(values, Choices):
        words = [option_word(option) for option in values.options]
        for word in (option_word(value), str(value).lower()):
            if word in words:
                return values.options[words.index(word)]
    number = parse_scalar(value) if isinstance(value, str) else value
    if type(number) is int and isinstance(values, FloatRange):
        number = float(number)
    elif type(number) is float and number.is_integer() and isinstance(values, IntRange):
        number = int(number)
    if not contains(values, number):
        raise _MisfitError(f"{name} outside")
    if isinstance(values, Choices):
        return next(option for option in values.options if contains(Choices((option,)), number))
    return number


def _is_same(value: Scalar, other: Scalar) -> bool:
    return value == other or str(value) == str(other)


def _most_telling(spec: StudySpec, known: Sequence[KnownTrial]) -> list[KnownTrial]:
    """A tenth for their values, then the latest; all of them, in that order, if they are few.

    Args:
        spec: The study.
        known: The latest first.
    """
    sign = spec.objective.signs[0]
    with_values = [at for at, trial in enumerate(known) if trial.values]
    ranked = sorted(with_values, key=lambda at: sign * known[at].values[0])
    best = ranked[: math.ceil(min(len(known), MOST_KEPT) / _BEST)]
    order = dict.fromkeys([*best, *range(len(known))])
    return [known[at] for at in order][:MOST_KEPT]
