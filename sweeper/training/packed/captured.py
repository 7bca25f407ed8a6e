"""Batches of the same members and form: one program, which is captured once and replayed."""

from collections.abc import Callable, Sequence
from enum import Enum, auto

import torch
from torch import Tensor

from sweeper.data.batches import Table
from sweeper.training.metrics import Evaluation
from sweeper.training.packed.arena import Arena
from sweeper.training.packed.capture import Capture
from sweeper.training.packed.compute import (
    BackwardError,
    Forward,
    Group,
    GroupBatch,
    Trained,
    UnusedParameterError,
    evaluate,
    train,
)
from sweeper.training.packed.dropouts import DropoutCall, dropout_calls, keyed_masks
from sweeper.training.packed.feed import Feed
from sweeper.training.packed.member import Member
from sweeper.training.packed.numbers import numbers_from
from sweeper.training.packed.rows import Rows
from sweeper.training.packed.watched import Kept, Watched, difference, watch
from sweeper.training.packed.work import RowsWork

#: Batches that are computed before the program is captured: libraries choose their kernels and
#: take their memory in the first ones.
_WARM_UP = 3


class _Stage(Enum):
    """How batches are done."""

    WARM_UP = auto()  #: Operator by operator, before the program is captured.
    CAPTURED = auto()
    UNCAPTURED = auto()  #: Operator by operator, as the program cannot be captured.
    REFUSED = auto()  #: Not at all.


class PartialUpdateError(RuntimeError):
    """Members may have changed in part.

    Attributes:
        cause: What came while they did.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Captured:
    """Computes batches of members, given as rows of a table.

    Args:
        members: As ``group`` has them.
        works: What they were given.
        forward: Of their models.
        rows: Of the pack.
        group: The members.
        capture: Captures the program.
        most: Batches of a stretch at most.
        is_own: Whether the network is the user's own: then it is captured only if it does the same
            in each batch, and what it draws is torch's.
        tell: Told once why the program cannot be captured, if that is so.
    """

    def __init__(
        self,
        members: Sequence[Member],
        works: Sequence[RowsWork],
        *,
        forward: Forward,
        rows: Rows,
        group: Group,
        capture: Capture,
        most: int,
        is_own: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._members = members
        self._forward = forward
        self._rows = rows
        self._group = group
        self._capture = capture
        self._is_own = is_own
        self._tell = tell
        self._table: Table = works[0].table
        self._is_training = works[0].is_training
        self._stage = _Stage.WARM_UP
        self._n_done = 0
        self._watched: list[Watched] = []
        self._reason = ""  # why nothing is captured, which is still to be told
        self._kept: Kept | None = None  # by a network of the user's own when it was captured
        self._replay: Callable[[], None] | None = None
        parameters = rows.parameters.values
        self._draws = self._is_training and (is_own or members[0].draws.are_needed)
        self._feed = Feed(members, works[0], like=parameters, most=most, draws=self._draws)
        self._losses = torch.zeros(len(members), device=parameters.device)
        self._outputs = parameters.new_empty(0)
        self._dropouts: list[DropoutCall] = []
        if self._is_training and forward.has_masks:
            sample, _ = self._table.batch(works[0].rows[0])
            self._dropouts = dropout_calls(members, sample)

    @property
    def is_refused(self) -> bool:
        """Whether a member that is computed by its own model is to be trained by itself.

        That cannot be captured, and what is left of its batches is not done.
        """
        return self._stage is _Stage.REFUSED

    def run(self, works: Sequence[RowsWork], n_batches: int) -> None:
        """Do the next batches of each member.

        Args:
            works: What the members were given.
            n_batches: That all of them have, in [1, most].

        Raises:
            PartialUpdateError: If something fails while members change.
            BaseException: What else fails has changed nobody, but for batches before it, which are
                counted.
        """
        self._give_up_if_changed()
        self._feed.load(works, n_batches)
        # Summed in the order of the batches, wherever a stretch begins.
        torch.stack(self._sums(), out=self._losses)
        n_done = 0
        try:
            while n_done < n_batches and not self.is_refused:
                if self._draws and (self._is_own or not self._feed.has_keys):
                    works[0].seed(n_done)
                n_done += self._step()
        finally:
            self._count(works, n_done)

    def _step(self) -> bool:
        """Do a batch; False if it is not done, as the program is refused."""
        if self._stage is _Stage.WARM_UP and self._n_done == _WARM_UP:
            self._try_to_capture()
        if self.is_refused:
            return False
        others = self._others_before()
        try:
            self._do_batch()
        except (UnusedParameterError, BackwardError) as exc:
            if not self._may_be_refused:
                raise
            for arena, values in others:  # the batch is done again
                arena.put(None, values)
            self._refuse(_first_line(exc))
            return False
        self._n_done += 1
        return True

    @torch.no_grad()
    def _others_before(self) -> list[tuple[Arena, Tensor]]:
        """What the model of an only member may change before it is known to be refused."""
        others = self._rows.others if self._may_be_refused else ()
        return [(each.arena, each.arena.values.clone()) for each in others]

    @property
    def _may_be_refused(self) -> bool:
        """Whether it is not known yet that the model of an only member is trained here."""
        is_alone = self._is_training and not self._forward.has_masks
        return is_alone and self._stage is _Stage.WARM_UP

    def _do_batch(self) -> None:
        if self._replay is not None:
            self._replay()
        elif self._is_own and 0 < self._n_done < _WARM_UP:
            model, device = self._forward.model, self._losses.device
            self._watched.append(watch(self._body, model, device))
        else:
            self._body()

    def _try_to_capture(self) -> None:
        reason = difference(self._watched)
        if reason is None:
            try:
                self._replay = self._recorded()
            except (RuntimeError, UnusedParameterError) as exc:  # nothing was done
                reason = _first_line(exc)
        if reason is None:
            self._stage = _Stage.CAPTURED
            self._kept = Kept(self._forward.model) if self._is_own else None
        else:
            self._refuse(reason)

    def _give_up_if_changed(self) -> None:
        """Compute by operators again if a network keeps something else than what is captured.

        What batches of another kind leave behind shows only now.
        """
        if self._kept is not None and (name := self._kept.changed()):
            self._kept = self._replay = None
            self._refuse(f"its forward pass changes {name}")

    def _recorded(self) -> Callable[[], None]:
        """The program, by a second attempt if memory lies idle that the first one was short of."""
        try:
            return self._capture.capture(self._body)
        except RuntimeError as exc:
            if "out of memory" not in str(exc):
                raise
        self._capture.give_back()
        return self._capture.capture(self._body)

    def _refuse(self, reason: str) -> None:
        is_for_alone = self._is_training and not self._forward.has_masks
        self._stage = _Stage.REFUSED if is_for_alone else _Stage.UNCAPTURED
        self._reason = reason
        if not is_for_alone:
            self._say_why()

    def _say_why(self) -> None:
        if self._reason:
            self._tell(f"no CUDA graph, so computed operator by operator: {self._reason}")
        self._reason = ""

    def train_alone(self) -> None:
        """Where it is refused, have the member train on what is left of its batches by itself.

        If that can be done, it is told why it is.
        """
        self._members[0].train_alone()
        self._say_why()

    def _body(self) -> None:
        if self._is_training:
            self._train()
        else:
            self._evaluate()

    def _batch(self) -> GroupBatch:
        """That it is at."""
        rows, keys = self._feed.rows(), self._feed.keys()
        inputs, targets = self._table.batch(rows.flatten())
        return GroupBatch(
            inputs.view(*rows.shape, *inputs.shape[1:]),
            targets.view(*rows.shape, *targets.shape[1:]),
            masks=keyed_masks(self._dropouts, keys),
            keys=keys,
        )

    def _train(self) -> None:
        found = train(self._forward, self._rows, self._group, self._batch())
        try:
            self._update(found)
        except BaseException as exc:
            raise PartialUpdateError(exc) from exc

    @torch.no_grad()
    def _update(self, found: Trained) -> None:
        numbers = numbers_from(self._feed.numbers(), self._group.uses)
        self._rows.put_others(self._group.places, found.others)
        self._rows.update(self._group.places, found.gradients, numbers)
        self._losses.add_(found.losses * self._feed.batch_size)
        self._feed.advance()

    @torch.no_grad()
    def _evaluate(self) -> None:
        found = evaluate(self._forward, self._rows, self._group, self._batch())
        if not len(self._outputs):  # their form is known now
            self._outputs = found.outputs.new_empty(self._feed.most, *found.outputs.shape)
        self._feed.put(found.outputs, self._outputs)
        self._losses.add_(found.losses)
        self._feed.advance()

    def _count(self, works: Sequence[RowsWork], n_batches: int) -> None:
        """Hand over to the members what came of so many batches."""
        torch._foreach_copy_(self._sums(), list(self._losses.clone().unbind()))
        if self._is_training:
            for member in self._members:
                member.count_updates(n_batches, self._feed.batch_size)
        elif n_batches:
            self._measure(works, n_batches)
        for work in works:
            work.drop(n_batches)

    def _sums(self) -> list[Tensor]:
        if self._is_training:
            return [member.alone.totals.loss for member in self._members]
        return [evaluation.loss for evaluation in self._evaluations()]

    def _evaluations(self) -> list[Evaluation]:
        found = [member.evaluation for member in self._members]
        return [evaluation for evaluation in found if evaluation is not None]

    def _measure(self, works: Sequence[RowsWork], n_batches: int) -> None:
        outputs = self._outputs[:n_batches].clone()
        parts = zip(self._evaluations(), works, strict=True)
        for place, (evaluation, work) in enumerate(parts):
            targets = self._table.targets.index_select(0, work.rows[:n_batches].flatten())
            evaluation.measure(outputs[:, place].flatten(0, 1), targets)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
