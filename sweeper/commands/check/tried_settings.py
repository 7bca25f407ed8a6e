"""Which of a study's settings ``check`` tries before any trial."""

from collections.abc import Iterator, Sequence

from sweeper.config.ranges import Choices, Range, options_of
from sweeper.config.references import is_reference
from sweeper.config.settings import Scalar, TrainConfig, TrialConfig
from sweeper.config.space import Suggest, first_value, is_forbidden, suggest_config
from sweeper.config.study import StudySpec

ARCHITECTURE = "model.architecture"


def architectures_of(spec: StudySpec) -> Sequence[Scalar]:
    """Those that the study searches; None alone if there is at most one."""
    return options_of(spec.ranges().get(ARCHITECTURE))


def first_settings(spec: StudySpec, architecture: Scalar) -> TrialConfig:
    """The first value of every range, with one of :func:`architectures_of`."""
    return _settings(spec, architecture, first_value)


def largest_settings(spec: StudySpec, architecture: Scalar) -> TrialConfig:
    """The largest value of every range, with one of :func:`architectures_of`."""
    return _settings(spec, architecture, _largest_value)


def settings_of_own_code(
    spec: StudySpec, architectures: Sequence[Scalar]
) -> Iterator[TrialConfig]:
    """Of built-in training, each piece of the user's own code that no first settings call.

    All else has its first value. What is never drawn beside first values is left out.

    Args:
        spec: The study.
        architectures: Of which the first is taken that has the range.
    """
    for name, values in spec.ranges().items():
        if name == ARCHITECTURE or not isinstance(values, Choices):
            continue
        for option in values.options[1:]:
            if isinstance(option, str) and is_reference(option):
                yield from _first_with(spec, architectures, name, option)


def _first_with(
    spec: StudySpec, architectures: Sequence[Scalar], name: str, option: Scalar
) -> Iterator[TrialConfig]:
    """The first settings in which one range has that option, if there are any."""

    def choose(other: str, values: Range) -> Scalar:
        return option if other == name else first_value(other, values)

    for architecture in architectures:
        config = _settings(spec, architecture, choose)
        is_drawn = name in config.params and not is_forbidden(spec, config.params)
        if is_drawn and isinstance(config.train, TrainConfig):
            yield config
            return


def _settings(spec: StudySpec, architecture: Scalar, suggest: Suggest) -> TrialConfig:
    """A value for every range, with that architecture if there are several."""

    def choose(name: str, values: Range) -> Scalar:
        return architecture if name == ARCHITECTURE else suggest(name, values)

    return suggest_config(spec, choose, seed=spec.seed)


def _largest_value(name: str, values: Range) -> Scalar:
    if not isinstance(values, Choices):
        return values.high
    numbers = [option for option in values.options if isinstance(option, int | float)]
    return max(numbers) if len(numbers) == len(values.options) else values.options[-1]
