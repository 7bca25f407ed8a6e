"""Several trials whose batches are computed as one."""

from collections.abc import Callable, Hashable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from sweeper.training.eager import EagerLearner
from sweeper.training.packed.compute import Group, Measured, Trained, evaluate, train
from sweeper.training.packed.losses import pack_losses
from sweeper.training.packed.member import Member, Work
from sweeper.training.packed.modules import activations_of
from sweeper.training.packed.numbers import numbers_of
from sweeper.training.packed.program import Program
from sweeper.training.packed.rows import Rows, release_rows


class Pack:
    """Trials of one :func:`~sweeper.training.packed.signature.signature`, trained together.

    Each is at its own epoch and batch. Those that were given nothing do not move, and what comes
    of one does not reach the others: neither numbers that are not finite nor an error.

    Args:
        tell: Told what is done otherwise than was asked.
        number: By which others know it.

    Attributes:
        members: In the order of their rows.
    """

    def __init__(self, tell: Callable[[str], None], *, number: int = 0) -> None:
        self._tell = tell
        self.number = number
        self.members: list[Member] = []
        self._program: Program | None = None
        self._rows: Rows | None = None
        self._places: dict[int, int] = {}
        self._groups: dict[tuple[int, ...], Group] = {}
        self._most: int | None = None

    @property
    def names_at_work(self) -> list[Hashable]:
        """Of the members that were given what is not done yet."""
        return [member.name for member in self.members if member.work is not None]

    def join(self, alone: EagerLearner, name: Hashable = None) -> Member:
        """Take a trial in, at any point of its training, under a name."""
        if self._program is None:
            self._program = Program(alone.model, alone.runtime)
        member = Member(alone, name)
        self.members.append(member)
        # Next to each other, those with the same activations are computed by one call.
        self.members.sort(key=_activations)
        self._forget_rows()
        return member

    def leave(self, member: Member) -> EagerLearner:
        """Let a trial go, as a learner that goes on alone."""
        self.members.remove(member)
        release_rows(member)
        self._forget_rows()
        return member.alone

    def _forget_rows(self) -> None:
        self._rows = None
        self._groups.clear()

    def step(self) -> None:
        """Do what members were given: those with batches of the same form at once.

        What fails is raised by the member that it fails for, in the next call of a method.
        """
        forms: dict[object, list[Member]] = {}
        for member in self.members:
            if member.work is not None:
                forms.setdefault(_form(member.work), []).append(member)
        if forms and self._rows is None:
            self._rows = Rows(self.members)
            self._places = {id(member): place for place, member in enumerate(self.members)}
        for members in forms.values():
            self._do(members)

    def _do(self, members: Sequence[Member]) -> None:
        """Do the batches of members that have the same form."""
        if self._most is not None and len(members) > self._most:
            self._do_halves(members)
            return
        works = [member.work for member in members if member.work is not None]
        assert self._program is not None
        assert self._rows is not None
        compute = evaluate if works[0].masks is None else train
        try:
            found = compute(self._program, self._rows, self._group(members), works)
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
            for member in members:
                member.error = exc

    def _do_after(self, error: BaseException, members: Sequence[Member]) -> None:
        """Find out whose error it is: nobody has changed yet."""
        if len(members) == 1:
            members[0].error, members[0].work = error, None
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
            self._groups[places] = _group_of(members, places, n_members=len(self.members))
        return self._groups[places]

    @torch.no_grad()
    def _take_trained(self, members: Sequence[Member], found: Trained, n_samples: int) -> None:
        """Add a batch of each to its update, and do the updates that are whole."""
        assert self._rows is not None
        places = self._group(members).places
        gradients = self._rows.with_pending(places, members, found.gradients)
        for others in self._rows.others:
            others.put(places, found.others)
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
        numbers = numbers_of(members, gradients)
        self._rows.update(self._group(members).places, gradients, numbers)
        for member in members:
            member.count_update()


def _take_measured(members: Sequence[Member], works: Sequence[Work], found: Measured) -> None:
    parts = zip(members, works, found.outputs, found.losses, strict=True)
    for member, work, outputs, loss in parts:
        assert member.evaluation is not None
        member.evaluation.add(outputs, work.targets, loss)


def _form(work: Work) -> object:
    """Equal for batches that one call computes."""
    forms = [(tensor.shape, tensor.dtype) for tensor in (work.inputs, work.targets)]
    return work.masks is None, *forms


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
