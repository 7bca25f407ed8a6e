"""What a sampler is asked for, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from optuna.trial import FrozenTrial

from sweeper.config.settings import Scalar

#: What drew a setting, beside the names of Optuna's samplers.
SOBOL, MODEL, ENQUEUE, FALLBACK = "sobol", "model", "enqueue", "fallback"


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

    def ask(self, history: Sequence[FrozenTrial], requests: Sequence[Request]) -> list[Proposal]:
        """A setting for each request, one that spreads from the others.

        Args:
            history: Trials that ended or run, by number, but not those that ask.
            requests: Of trials that begin now.
        """
