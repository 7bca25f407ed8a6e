"""How many trials at once were found to be best on the devices of a study."""

from typing import Any, NamedTuple

from sweeper.study.attributes import Attr, StudyAttributes, below, read_attribute
from sweeper.study.storage.backend import store_errors

_PREFIX = f"{Attr.LANES}."


class BestLanes(NamedTuple):
    """What ``run.lanes: auto`` has come to on a device.

    Attributes:
        n: Trials that one worker trains at once.
        rates: A number that was tried, and the epochs a second of all those trials together.
    """

    n: int
    rates: list[tuple[int, float]]

    @property
    def is_most_tried(self) -> bool:
        """Whether more may be better still: they were beyond what was planned then."""
        return all(n <= self.n for n, _ in self.rates)

    def explain(self) -> str:
        """For people: how many, and why."""
        numbers = ", ".join(str(n) for n, _ in self.rates)
        rates = ", ".join(f"{rate:.3g}" for _, rate in self.rates)
        at_once = "one trial at a time" if self.n == 1 else f"{self.n} trials at once"
        return f"{at_once}: {numbers} did {rates} epochs a second"

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"n": self.n, "epochs_per_s": dict(self.rates)}


def best_lanes(attributes: StudyAttributes) -> dict[str, BestLanes]:
    """Name of a device -> what is best there, where that is known of a study.

    Raises:
        StudyError: If something else stands there than sweeper writes.
    """
    return {
        device: read_attribute(BestLanes, record, "what run.lanes has come to")
        for device, record in below(_PREFIX, attributes.read())
    }


@store_errors()
def keep_best_lanes(attributes: StudyAttributes, device: str, best: BestLanes) -> None:
    """Keep what is best on a device of that name, in place of what was."""
    attributes.put(f"{_PREFIX}{device}", best)
