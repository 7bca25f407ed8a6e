"""What a sampler's model has learnt, for people."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.config.settings import Scalar

#: Parameters that are told; the others matter less.
_MOST_TOLD = 5


@dataclass(frozen=True)
class ModelView:
    """What a model of the objective says.

    Attributes:
        lengths: By dotted name, the shortest first: over so much of its range, 1 is the whole, a
            parameter must change to make another outcome likely. So the shorter, the more it
            matters; one that varied never has a length that nothing was learnt of.
        setting: The untried one that may gain most, values by dotted name.
        expected: Of the objective's metric there.
        chance: That it is better than the best so far, in [0, 1].
    """

    lengths: Mapping[str, float]
    setting: Mapping[str, Scalar]
    expected: float
    chance: float

    def matters(self) -> str:
        """The parameters that matter most, in one line."""
        told = list(self.lengths.items())[:_MOST_TOLD]
        return ", ".join(f"{name} {length:.2g}" for name, length in told)

    def expects(self, metric: str) -> str:
        """What is to be had by going on, in one line."""
        return (
            f"{metric} {self.expected:.4g} of the best untried setting, better than the best with "
            f"a chance of {self.chance:.0%}"
        )
