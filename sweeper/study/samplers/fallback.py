"""What a trial is given in place of a setting that it may not have, whatever the sampler."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from sweeper.config.grid import count_settings, untried
from sweeper.config.study import StudySpec
from sweeper.errors import StudyError
from sweeper.study.samplers.axis import Array
from sweeper.study.samplers.choice import Choice
from sweeper.study.samplers.latent import LatentSpace
from sweeper.study.samplers.proposal import IsTried, Request

#: Settings of a space that is gone through as a whole when random draws find nothing; of a larger
#: one they find whatever is more than a thousandth of it.
_MOST_POINTS = 20_000


class Fallback:
    """The setting that comes nearest to what was wanted.

    Args:
        spec: The study file.
        space: Its search space.
    """

    def __init__(self, spec: StudySpec, space: LatentSpace) -> None:
        self._spec = spec
        self._space = space

    def find(
        self, request: Request, choice: Choice, is_tried: IsTried, wanted: Array | None = None
    ) -> Array:
        """What is wanted or its nearest neighbour, else any row, else the last that is left.

        What failed comes last. When everything was tried, a row is repeated.

        Args:
            request: Of the trial.
            choice: What the trial may be given.
            is_tried: Whether a trial that did not fail has a setting.
            wanted: The sampler's row; None if it has none.

        Raises:
            StudyError: If all is forbidden.
        """
        for row in self._ways(request, choice, is_tried, wanted):
            if row is not None:
                return row
        beside = ", ".join(f"{name}={value}" for name, value in request.given.items())
        raise StudyError(
            f"{self._spec.place('forbid')}: leaves nothing to draw"
            f"{f' beside {beside}' if beside else ''}: thousands of uniform draws were all "
            "forbidden; loosen it"
        )

    def _ways(
        self, request: Request, choice: Choice, is_tried: IsTried, wanted: Array | None
    ) -> Iterator[Array | None]:
        if wanted is not None:
            yield choice.nearest(wanted)
        yield choice.uniform()
        left = self._left(request, is_tried)
        yield choice.first(left)
        yield next(iter(left), None)
        again = choice.with_repeats()
        if wanted is not None:
            yield again.nearest(wanted)
        yield again.uniform()
        yield next(iter(self._left(request, lambda _: False)), None)

    def _left(self, request: Request, is_tried: IsTried) -> Array:
        """Of a small space, all rows that are left [n, ranges]."""
        blank = np.zeros(len(self._space.names))
        points = untried(self._spec, is_tried, request.given) if self._is_small else ()
        rows = [self._space.row(point, blank) for point in points]
        return np.array(rows).reshape(-1, len(self._space.names))

    @cached_property
    def _is_small(self) -> bool:
        return count_settings(self._spec, _MOST_POINTS) < _MOST_POINTS
