"""The members of a pack in rows, as long as none comes or goes."""

from collections.abc import Hashable, Sequence
from itertools import groupby

import torch

from sweeper.training.packed.captured import Captured
from sweeper.training.packed.compute import Group
from sweeper.training.packed.losses import pack_losses
from sweeper.training.packed.member import Member
from sweeper.training.packed.modules import activations_of
from sweeper.training.packed.numbers import uses_of
from sweeper.training.packed.rows import Rows

#: Programs at once: members that are at one point of their epoch change with each newcomer.
_MOST_CAPTURED = 16


class Layout:
    """Where each member lies, and what is known of those that are computed at once.

    Args:
        members: All that there are; their tensors become rows.

    Attributes:
        members: In the order of their rows.
        rows: Of all.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        # Next to each other, those with the same activations are computed by one call.
        self.members = sorted(members, key=_activations)
        self.rows = Rows(self.members)
        self._places = {id(member): place for place, member in enumerate(self.members)}
        self._groups: dict[tuple[int, ...], Group] = {}
        self._captured: dict[Hashable, Captured] = {}

    def group(self, members: Sequence[Member]) -> Group:
        """Some of them, in the order of their rows."""
        places = self._places_of(members)
        if places not in self._groups:
            self._groups[places] = _group_of(members, places, n_members=len(self.members))
        return self._groups[places]

    def captured(self, members: Sequence[Member], form: Hashable) -> Captured | None:
        """The program of some of them for batches of a form, if there is one."""
        return self._captured.get((form, self._places_of(members)))

    def keep(self, members: Sequence[Member], form: Hashable, captured: Captured) -> None:
        """Have :meth:`captured` find a program; too many, and it finds the first one no more."""
        if len(self._captured) == _MOST_CAPTURED:
            del self._captured[next(iter(self._captured))]
        self._captured[form, self._places_of(members)] = captured

    def forget_captured(self) -> None:
        """Give back the memory of all programs."""
        self._captured.clear()

    def _places_of(self, members: Sequence[Member]) -> tuple[int, ...]:
        return tuple(self._places[id(member)] for member in members)


def _activations(member: Member) -> tuple[str, ...]:
    return tuple(type(module).__name__ for module in activations_of(member.alone.model))


def _group_of(members: Sequence[Member], places: Sequence[int], *, n_members: int) -> Group:
    learners = [member.alone for member in members]
    like = learners[0].parameters[0]
    alike = [list(those) for _, those in groupby(members, key=_activations)]
    return Group(
        places=None if len(places) == n_members else torch.tensor(places, device=like.device),
        segments=[(activations_of(those[0].alone.model), len(those)) for those in alike],
        loss=pack_losses([learner.loss for learner in learners], like),
        are_sums=[learner.accumulate > 1 for learner in learners],
        uses=uses_of(members),
    )
