"""Several trials whose batches are computed as one."""

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from traceback import clear_frames

import torch
from torch import Tensor

from sweeper.training.eager import EagerLearner
from sweeper.training.packed.capture import Capture
from sweeper.training.packed.captured import Captured, PartialUpdateError
from sweeper.training.packed.compute import (
    Forward,
    ForwardOfMany,
    ForwardOfOne,
    Measured,
    Trained,
    evaluate,
    stacked,
    train,
)
from sweeper.training.packed.layout import Layout
from sweeper.training.packed.member import Member
from sweeper.training.packed.numbers import numbers_from, table_of
from sweeper.training.packed.program import Program
from sweeper.training.packed.rows import release_rows
from sweeper.training.packed.work import BatchWork, RowsWork, Work

#: Batches of a captured stretch, at first and at most: so many that the host's part of it, about a
#: millisecond for 64 members, does not count ...
_FIRST_STRIDE, _STRIDE = 4, 32
#: ... and so few that a stop does not wait for long, however large the network.
_LONGEST_S = 0.25
#: Stretches that may be under way on the device at once: while it does one, the host makes the
#: next one ready.
_MOST_UNDER_WAY = 2


class Pack:
    """Trials of one :func:`~sweeper.training.packed.signature.signature`, trained together.

    Each is at its own epoch and batch. Those that were given nothing do not move, and what comes
    of one does not reach the others: neither numbers that are not finite nor an error.

    Args:
        tell: Told what is done otherwise than was asked.
        number: By which others know it.
        capture: Has the work done on the device, as captured programs where members are given
            rows of a table; None to do it operator by operator.
        is_single: Whether it has one member at most, which is computed by its own model.
        is_own: Whether the network is the user's own.

    Attributes:
        members: In the order in which they came.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        capture: Capture | None = None,
        *,
        number: int = 0,
        is_single: bool = False,
        is_own: bool = False,
    ) -> None:
        self._tell = tell
        self.number = number
        self._capture = capture
        self._is_single = is_single
        self._is_own = is_own
        self.members: list[Member] = []
        self._forward: Forward | None = None
        self._layout: Layout | None = None
        self._most: int | None = None
        self._is_at_end = False
        self._stride = _FIRST_STRIDE
        self._given: deque[list[Work | None]] = deque()  # that the device is still at

    @property
    def names(self) -> list[Hashable]:
        """Of all members."""
        return [member.name for member in self.members]

    @property
    def names_at_work(self) -> list[Hashable]:
        """Of the members that were given what is not done yet."""
        return [member.name for member in self.members if member.work is not None]

    @property
    def is_ready(self) -> bool:
        """Whether members can go on without waiting for the device."""
        n_under_way = self._capture.n_under_way if self._capture else 0
        return not n_under_way or (n_under_way < _MOST_UNDER_WAY and not self._is_at_end)

    def wait(self) -> None:
        """Wait until the device has done all that members were given."""
        if self._capture is not None:
            self._capture.wait()
        self._given.clear()

    def join(
        self, alone: EagerLearner, name: Hashable = None, *, takes_rows: bool = False
    ) -> Member:
        """Take a trial in, at any point of its training.

        Args:
            alone: As it is by itself.
            name: By which others know it.
            takes_rows: Whether its batches may be computed by a captured program, where there is
                what captures it.
        """
        self.wait()
        if self._is_single:
            self._forward = ForwardOfOne(alone)
        elif self._forward is None:
            self._forward = ForwardOfMany(Program(alone.model, alone.runtime))
        stride = (lambda: self._stride) if takes_rows and self._capture else None
        member = Member(alone, name, stride=stride, wait=self.wait)
        self.members.append(member)
        self._layout = None
        return member

    def leave(self, member: Member) -> EagerLearner:
        """Let a trial go, as a learner that goes on alone."""
        self.wait()
        self.members.remove(member)
        self._layout = None
        release_rows(member)
        return member.alone

    def step(self) -> None:
        """Do what members were given: those with batches of the same form at once.

        What fails is raised by the member that it fails for, in the next call of a method.
        """
        self._adapt_stride()
        self._keep_given()
        # On the stream of the tensors that it takes over, whose memory others may have at once.
        layout = self._layout = self._layout or self._new_layout()
        with self._capture.running() if self._capture else nullcontext():
            self._is_at_end = any(
                isinstance(member.work, RowsWork) and member.work.is_last
                for member in self.members
            )
            while layout and (forms := _forms(layout.members)):
                for members in forms.values():
                    self._do(layout, members)

    def _keep_given(self) -> None:
        """Keep what members were given until the device has done it.

        It was made on another stream, where its memory would be given to others at once.
        """
        if self._capture is None:
            return
        while len(self._given) > self._capture.n_under_way:
            self._given.popleft()
        self._given.append([member.work for member in self.members])

    def _adapt_stride(self) -> None:
        latest_s = self._capture.latest_s if self._capture else 0.0
        if latest_s > _LONGEST_S:
            self._stride = max(1, self._stride // 2)
        elif 0 < latest_s < _LONGEST_S / 4:  # of two stretches before, half and half as long
            self._stride = min(_STRIDE, 2 * self._stride)

    def _new_layout(self) -> Layout | None:
        """Lay the tensors of members in rows; should that fail, without those who came last."""
        members = [member for member in self.members if member.error is None]
        while members:
            try:
                return Layout(members)
            except BaseException as exc:  # tensors hold the same numbers, wherever they lie now
                clear_frames(exc.__traceback__)
                _fail([members.pop()], exc)
        return None

    def _do(self, layout: Layout, members: Sequence[Member]) -> None:
        """Do the next batches of members that have the same form."""
        if self._most is not None and len(members) > self._most:
            self._do_halves(layout, members)
        elif isinstance(members[0].work, RowsWork):
            self._do_rows(layout, members)
        else:
            self._do_batch(layout, members)

    def _do_batch(self, layout: Layout, members: Sequence[Member]) -> None:
        works = [member.work for member in members if isinstance(member.work, BatchWork)]
        assert self._forward is not None
        compute = evaluate if works[0].masks is None else train
        try:
            found = compute(self._forward, layout.rows, layout.group(members), stacked(works))
        except BaseException as exc:  # code of a user's own raises what it likes
            self._do_after(exc, layout, members)
            return
        for member in members:
            member.work = None
            member.most = max(member.most, len(members))
        try:
            if isinstance(found, Trained):
                _take_trained(layout, members, found, len(works[0].targets))
            else:
                _take_measured(members, works, found)
        except BaseException as exc:  # they may have changed in part
            _fail(members, exc)

    def _do_rows(self, layout: Layout, members: Sequence[Member]) -> None:
        works = [member.work for member in members if isinstance(member.work, RowsWork)]
        captured = None
        try:
            captured = self._captured(layout, members, works)
            captured.run(works, min(len(work.rows) for work in works))
            for member in members:
                member.most = max(member.most, len(members))
            if captured.is_refused:
                captured.train_alone()
        except BaseException as exc:
            captured = None  # its memory is needed for fewer members
            layout.forget_captured()
            if isinstance(exc, PartialUpdateError):
                _fail(members, exc.cause)
            else:
                self._do_after(exc, layout, members)
        for member in members:
            if isinstance(member.work, RowsWork) and member.work.is_done:
                member.work = None

    def _captured(
        self, layout: Layout, members: Sequence[Member], works: Sequence[RowsWork]
    ) -> Captured:
        form = works[0].form
        found = layout.captured(members, form)
        if found is None:
            assert self._forward is not None
            assert self._capture is not None
            found = Captured(
                members,
                works,
                forward=self._forward,
                rows=layout.rows,
                group=layout.group(members),
                capture=self._capture,
                most=_STRIDE,
                is_own=self._is_own,
                tell=self._tell,
            )
            layout.keep(members, form, found)
        return found

    def _do_after(self, error: BaseException, layout: Layout, members: Sequence[Member]) -> None:
        """Find out whose error it is: nobody has changed yet."""
        clear_frames(error.__traceback__)  # which hold what there was too little memory for
        if len(members) == 1:
            _fail(members, error)
            return
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            self._most = len(members) // 2
            self._tell(
                f"run.pack: the device has not enough memory for {len(members)} trials of this "
                f"kind at once; from now on it is {self._most}"
            )
        self._do_halves(layout, members)

    def _do_halves(self, layout: Layout, members: Sequence[Member]) -> None:
        half = len(members) // 2
        self._do(layout, members[:half])
        self._do(layout, members[half:])


def _forms(members: Sequence[Member]) -> Mapping[Hashable, list[Member]]:
    """Those that are at work, by what can be computed at once."""
    forms: dict[Hashable, list[Member]] = {}
    for member in members:
        if member.work is not None:
            forms.setdefault(member.work.form, []).append(member)
    return forms


@torch.no_grad()
def _take_trained(
    layout: Layout, members: Sequence[Member], found: Trained, n_samples: int
) -> None:
    """Add a batch of each to its update, and do the updates that are whole."""
    rows, places = layout.rows, layout.group(members).places
    gradients = rows.with_pending(places, members, found.gradients)
    rows.put_others(places, found.others)
    sums = (found.losses * n_samples).unbind()
    torch._foreach_add_([member.alone.totals.loss for member in members], list(sums))
    for member in members:
        member.count_batch(n_samples)
    due = [at for at, member in enumerate(members) if member.is_due]
    if len(due) < len(members):
        rows.gradients.put(places, gradients)
        gradients = gradients[due]
    if due:
        _update(layout, [members[at] for at in due], gradients)


def _update(layout: Layout, members: Sequence[Member], gradients: Tensor) -> None:
    group = layout.group(members)
    numbers = numbers_from(table_of(members)[0].to(gradients), group.uses)
    layout.rows.update(group.places, gradients, numbers)
    for member in members:
        member.count_update()


def _fail(members: Sequence[Member], error: BaseException) -> None:
    for member in members:
        member.error, member.work = error, None


def _take_measured(members: Sequence[Member], works: Sequence[BatchWork], found: Measured) -> None:
    parts = zip(members, works, found.outputs, found.losses, strict=True)
    for member, work, outputs, loss in parts:
        assert member.evaluation is not None
        member.evaluation.add(outputs, work.targets, loss)
