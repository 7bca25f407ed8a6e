"""What a sampler is asked for, and what it answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from optuna.trial import FrozenTrial

from sweeper.config.settings import Scalar
from sweeper.study.samplers.model_view import ModelView

#: What drew a setting, beside the names of Optuna's samplers.
DEFAULT, SOBOL, MODEL, ENQUEUE, FALLBACK, GRID = (
    "default",
    "sobol",
    "model",
    "enqueue",
    "fallback",
    "grid",
)

#: Whether a trial of the study, seen by the sampler or not, has a setting: values by dotted name.
IsTried = Callable[[Mapping[str, Scalar]], bool]


@dataclass(frozen=True)
class Request:
    """A trial that wants settings.

    Attributes:
        number: Of the trial.
        given: Values by dotted name that it has already: it was enqueued with them.
    """

    number: int
    given: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposal:
    """The settings of a trial.

    Attributes:
        values: Of the ranges that count in this setting, by dotted name.
        drawn_by: What drew them.
    """

    values: Mapping[str, Scalar]
    drawn_by: str


class Sampler(Protocol):
    """Proposes settings from what the trials before have shown."""

    def ask(
        self, history: Sequence[FrozenTrial], requests: Sequence[Request], is_tried: IsTried
    ) -> list[Proposal]:
        """A setting for each request, one that spreads from the others.

        Args:
            history: Trials that ended, run or wait, by number, but not those that ask.
            requests: Of trials that begin now.
            is_tried: No setting is proposed of which it says so while another is left.

        Raises:
            StudyError: If ``forbid`` leaves nothing to propose.
        """

    def explain(self, history: Sequence[FrozenTrial], is_tried: IsTried) -> ModelView | None:
        """What its model says after these trials.

        None if it has no model, or not yet one, or if all settings were tried.
        """


def or_proposed(is_tried: IsTried, proposals: Sequence[Proposal]) -> IsTried:
    """Whether a setting was tried, or is among proposals, to which more may be added."""
    return lambda setting: is_tried(setting) or any(setting == p.values for p in proposals)
