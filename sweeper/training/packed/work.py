"""What a member of a pack was given and is not done yet."""

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from torch import Tensor

from sweeper.data.batches import Batch
from sweeper.training.stretch import Stretch


@dataclass(frozen=True)
class BatchWork:
    """A batch that a member was given.

    Attributes:
        inputs: [B, ...].
        targets: [B, ...].
        masks: Of its dropouts, in the order of their calls; None in evaluation.
    """

    inputs: Tensor
    targets: Tensor
    masks: list[Tensor] | None = None

    @property
    def form(self) -> Hashable:
        """Equal for what one call computes."""
        forms = [(tensor.shape, tensor.dtype) for tensor in (self.inputs, self.targets)]
        return self.masks is None, *forms


class RowsWork:
    """Batches that a member was given as rows of a table.

    Args:
        batches: Of a table; all that are left are taken.
        is_training: Whether they are trained on.

    Attributes:
        table: Of the rows.
        is_training: Whether they are trained on.
        is_last: Whether a pass ends with them.
    """

    def __init__(self, batches: Stretch, *, is_training: bool) -> None:
        assert batches.table is not None
        self.table = batches.table
        self.is_training = is_training
        self.is_last = batches.is_last
        self._batches = batches
        self._number = batches.number
        self._parts: deque[Tensor] = deque()
        while batches.n_left:
            self._parts.append(batches.take(batches.n_left))

    @property
    def form(self) -> Hashable:
        """Equal for what one program computes."""
        return self.is_training, id(self.table), self._parts[0].shape[1]

    @property
    def rows(self) -> Tensor:
        """Of the next batches, which are of one form, int64 [n, B]."""
        return self._parts[0]

    @property
    def is_done(self) -> bool:
        """Whether no batch is left."""
        return not self._parts

    def seed(self, n_ahead: int) -> None:
        """Seed the random generators for the batch that comes after so many others."""
        self._batches.seed(self._number + n_ahead)

    def keys(self, n_batches: int) -> list[int] | None:
        """By which dropouts draw for the next batches; None if torch's generator does."""
        return self._batches.keys(range(self._number, self._number + n_batches))

    def batches(self) -> Iterator[Batch]:
        """The next batches, which count as done: each as it is loaded."""
        while self._parts:
            self.seed(0)
            rows = self._parts[0][0]
            self.drop(1)
            yield self.table.batch(rows)

    def drop(self, n_batches: int) -> None:
        """Count the next batches as done."""
        self._number += n_batches
        rest = self._parts.popleft()[n_batches:]
        if len(rest):
            self._parts.appendleft(rest)


Work = BatchWork | RowsWork
