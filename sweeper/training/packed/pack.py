"""Several trials whose batches are computed as one."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby
from traceback import clear_frames

import torch
from torch import Tensor

from sweeper.training.eager import EagerLearner
from sweeper.training.packed.capture import Capture
from sweeper.training.packed.captured import Captured
from sweeper.training.packed.compute import (
    Forward,
    ForwardOfMany,
    ForwardOfOne,
    Group,
    Measured,
    Trained,
    evaluate,
    stacked,
    train,
)
from sweeper.training.packed.losses import pack_losses
from sweeper.training.packed.member import Member
from sweeper.training.packed.modules import activations_of
from sweeper.training.packed.numbers import numbers_from, table_of, uses_of
from sweeper.training.packed.program import Program
from sweeper.training.packed.rows import Rows, release_rows
from sweeper.training.packed.work import BatchWork, RowsWork

#: Batches of a captured stretch: so long that the host's part of it, about a millisecond for 64
#: members, does not count, and so short that a stop does not wait for it.
_STRIDE = 32
#: Programs of one pack: members that are at one point of their epoch change with each newcomer.
_MOST_CAPTURED = 16


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
    ) -> None:
        self._tell = tell
        self.number = number
        self._capture = capture
        self._is_single = is_single
        self.members: list[Member] = []
        self._forward: Forward | None = None
        self._rows: Rows | None = None
        self._laid: list[Member] = []  # in the order of their rows
        self._places: dict[int, int] = {}
        self._groups: dict[tuple[int, ...], Group] = {}
        self._captured: dict[Hashable, Captured] = {}
        self._most: int | None = None
        self._is_at_end = False

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
        if self._capture is None:
            return True
        return self._capture.is_done or (self._capture.is_free and not self._is_at_end)

    def wait(self) -> None:
        """Wait until the device has done all that members were given."""
        if self._capture is not None:
            self._capture.wait()

    def join(
        self, alone: EagerLearner, name: Hashable = None, *, takes_rows: bool = False
    ) -> Member:
        """Take a trial in, at any point of its training.

        Args:
            alone: As it is by itself.
            name: By which others know it.
            takes_rows: Whether its batches may be computed by a captured program.
        """
        self.wait()
        if self._forward is None or self._is_single:
            self._forward = (
                ForwardOfOne(alone)
                if self._is_single
                else ForwardOfMany(Program(alone.model, alone.runtime))
            )
        stride = _STRIDE if takes_rows and self._capture is not None else 1
        member = Member(alone, name, stride=stride, wait=self.wait)
        self.members.append(member)
        self._forget_rows()
        return member

    def leave(self, member: Member) -> EagerLearner:
        """Let a trial go, as a learner that goes on alone."""
        self.wait()
        self.members.remove(member)
        release_rows(member)
        self._forget_rows()
        return member.alone

    def _forget_rows(self) -> None:
        self._rows = None
        self._laid = []
        self._groups.clear()
        self._captured.clear()

    def step(self) -> None:
        """Do what members were given: those with batches of the same form at once.

        What fails is raised by the member that it fails for, in the next call of a method.
        """
        with self._capture.running() if self._capture else nullcontext():
            if self._rows is None:
                self._lay_rows()
            self._is_at_end = any(
                isinstance(member.work, RowsWork) and member.work.is_last
                for member in self.members
            )
            while forms := self._forms():
                for members in forms.values():
                    self._do(members)

    def _lay_rows(self) -> None:
        """Lay the tensors of members in rows; should that fail, without those who came last."""
        members = [member for member in self.members if member.error is None]
        while members and self._rows is None:
            # Next to each other, those with the same activations are computed by one call.
            self._laid = sorted(members, key=_activations)
            try:
                self._rows = Rows(self._laid)
            except BaseException as exc:  # tensors hold the same numbers, wherever they lie now
                clear_frames(exc.__traceback__)
                _fail([members.pop()], exc)
        self._places = {id(member): place for place, member in enumerate(self._laid)}

    def _forms(self) -> Mapping[Hashable, list[Member]]:
        """The members that are at work, by what can be computed at once."""
        forms: dict[Hashable, list[Member]] = {}
        for member in self._laid:
            if member.work is not None:
                forms.setdefault(member.work.form, []).append(member)
        return forms

    def _do(self, members: Sequence[Member]) -> None:
        """Do the next batches of members that have the same form."""
        if self._most is not None and len(members) > self._most:
            self._do_halves(members)
        elif isinstance(members[0].work, RowsWork):
            self._do_rows(members)
        else:
            self._do_batch(members)

    def _do_batch(self, members: Sequence[Member]) -> None:
        works = [member.work for member in members if isinstance(member.work, BatchWork)]
        assert self._forward is not None
        assert self._rows is not None
        compute = evaluate if works[0].masks is None else train
        try:
            found = compute(self._forward, self._rows, self._group(members), stacked(works))
        except BaseException as exc:  # code of a user's own raises what it likes
            self._do_after(exc, members)
            return
        for member in members:
            member.work = None
            member.most = max(member.most, len(members))
        try:
            if isinstance(found, Trained):
                self._take_trained(members, found, len(works[0].targets))
            else:
                _take_measured(members, works, found)
        except BaseException as exc:  # they may have changed in part
            _fail(members, exc)

    def _do_rows(self, members: Sequence[Member]) -> None:
        works = [member.work for member in members if isinstance(member.work, RowsWork)]
        captured = None
        try:
            captured = self._captured_of(members, works)
            captured.run(works, min(len(work.rows) for work in works))
            for member in members:
                member.most = max(member.most, len(members))
        except BaseException as exc:
            self._captured.clear()
            if captured is not None and captured.is_changing:
                _fail(members, exc)
            else:
                self._do_after(exc, members)
        for member in members:
            if isinstance(member.work, RowsWork) and member.work.is_done:
                member.work = None

    def _captured_of(self, members: Sequence[Member], works: Sequence[RowsWork]) -> Captured:
        key = works[0].form, *(self._places[id(member)] for member in members)
        if key not in self._captured:
            if len(self._captured) == _MOST_CAPTURED:
                del self._captured[next(iter(self._captured))]
            assert self._forward is not None
            assert self._rows is not None
            assert self._capture is not None
            self._captured[key] = Captured(
                members,
                works,
                forward=self._forward,
                rows=self._rows,
                group=self._group(members),
                capture=self._capture,
                most=_STRIDE,
                tell=self._tell,
            )
        return self._captured[key]

    def _do_after(self, error: BaseException, members: Sequence[Member]) -> None:
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
        self._do_halves(members)

    def _do_halves(self, members: Sequence[Member]) -> None:
        half = len(members) // 2
        self._do(members[:half])
        self._do(members[half:])

    def _group(self, members: Sequence[Member]) -> Group:
        places = tuple(self._places[id(member)] for member in members)
        if places not in self._groups:
            self._groups[places] = _group_of(members, places, n_members=len(self._laid))
        return self._groups[places]

    @torch.no_grad()
    def _take_trained(self, members: Sequence[Member], found: Trained, n_samples: int) -> None:
        """Add a batch of each to its update, and do the updates that are whole."""
        assert self._rows is not None
        places = self._group(members).places
        gradients = self._rows.with_pending(places, members, found.gradients)
        self._rows.put_others(places, found.others)
        sums = (found.losses * n_samples).unbind()
        torch._foreach_add_([member.alone.totals.loss for member in members], list(sums))
        for member in members:
            member.count_batch(n_samples)
        due = [at for at, member in enumerate(members) if member.is_due]
        if len(due) < len(members):
            self._rows.gradients.put(places, gradients)
            gradients = gradients[due]
        if due:
            self._update([members[at] for at in due], gradients)

    def _update(self, members: Sequence[Member], gradients: Tensor) -> None:
        assert self._rows is not None
        numbers = numbers_from(table_of(members)[0].to(gradients), uses_of(members))
        self._rows.update(self._group(members).places, gradients, numbers)
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


def _activations(member: Member) -> tuple[str, ...]:
    return tuple(type(module).__name__ for module in activations_of(member.alone.model))


def _group_of(members: Sequence[Member], places: Sequence[int], *, n_members: int) -> Group:
    learners = [member.alone for member in members]
    like = learners[0].parameters[0]
    stretches = [list(stretch) for _, stretch in groupby(members, key=_activations)]
    return Group(
        places=None if len(places) == n_members else torch.tensor(places, device=like.device),
        segments=[(activations_of(stretch[0].alone.model), len(stretch)) for stretch in stretches],
        loss=pack_losses([learner.loss for learner in learners], like),
        are_sums=[learner.accumulate > 1 for learner in learners],
    )
