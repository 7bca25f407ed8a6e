"""All that members carry from batch to batch, as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sweeper.training.optim import Adam, Optimizer, UpdateRule
from sweeper.training.packed.arena import Arena, release
from sweeper.training.packed.member import Member
from sweeper.training.packed.numbers import Numbers
from sweeper.training.packed.rules import update_rows


@dataclass(frozen=True)
class Others:
    """Tensors of a model that are not trained, buffers above all, of one dtype.

    Attributes:
        names: In the model.
        arena: Of the tensors.
        averages: Of them; None if nothing is averaged.
    """

    names: Sequence[str]
    arena: Arena
    averages: Arena | None

    def taken(self, places: Tensor | None, *, are_averaged: bool = False) -> dict[str, Tensor]:
        """Copies of some rows, or all: name -> [G, ...]."""
        arena = self.averages if are_averaged and self.averages is not None else self.arena
        tensors = arena.tensors(arena.taken(places))
        # Each in one piece, for else vmap updates a copy of it, and says nothing.
        copies = [tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors]
        return dict(zip(self.names, copies, strict=True))

    def put(self, places: Tensor | None, named: Mapping[str, Tensor]) -> None:
        """Write some rows, or all."""
        tensors = [named[name] for name in self.names]
        self.arena.put(places, torch.cat([t.reshape(len(t), -1) for t in tensors], 1))


class Rows:
    """The arenas of a pack.

    Args:
        members: In the order of the rows.

    Attributes:
        rule: Of the updates; the numbers in it are those of the first member.
        names: Of the parameters, weights first.
        parameters: That are trained.
        n_weights: Columns of ``parameters`` that are weights.
        gradients: Of ``parameters``.
        states: Of the optimiser, each like ``parameters``.
        counts: Updates, for each parameter; None if the rule does not count.
        averages: Of ``parameters``; None if nothing is averaged.
        others: Of the models.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        learners = [member.alone for member in members]
        first = learners[0]
        self.rule = _rule_of(members[0])
        names = {id(p): name for name, p in first.model.named_parameters()}
        self.names = [names[id(parameter)] for parameter in first.parameters]
        self.n_weights = sum(p.numel() for p in first.parameters if p.ndim >= 2)
        self.parameters = Arena([learner.parameters for learner in learners])
        self.gradients = Arena([member.gradients for member in members])
        kinds = [Arena(kind) for kind in zip(*map(_states, members), strict=True)]
        self.counts = kinds.pop() if isinstance(self.rule, Adam) else None
        self.states = kinds
        self.averages = None
        if first.average is not None:
            self.averages = Arena([_averages(m, m.alone.parameters) for m in members])
        self.others = _others(members)

    def with_pending(
        self, places: Tensor | None, members: Sequence[Member], gradients: Tensor
    ) -> Tensor:
        """Gradients of a batch, with those of batches before it that no update has used."""
        are_pending = [member.alone.pending.n_batches > 0 for member in members]
        if not any(are_pending):
            return gradients
        is_pending = torch.tensor(are_pending, device=gradients.device)[:, None]
        return torch.where(is_pending, self.gradients.taken(places) + gradients, gradients)

    def put_others(self, places: Tensor | None, named: Mapping[str, Tensor]) -> None:
        """Write what members hold beside parameters, if anything is named."""
        if named:
            for others in self.others:
                others.put(places, named)

    @torch.no_grad()
    def update(self, places: Tensor | None, gradients: Tensor, numbers: Numbers) -> None:
        """Update members.

        Args:
            places: Rows of the members, int64 [G]; None for all.
            gradients: Of all batches of the update [G, N]; changed.
            numbers: Of each.
        """
        arenas = [self.parameters, *self.states]
        values = [arena.taken(places) for arena in arenas]
        parameters, *states = values
        update_rows(
            self.rule, parameters, gradients, states, numbers=numbers, n_weights=self.n_weights
        )
        for arena, changed in zip(arenas, values, strict=True):
            arena.put(places, changed)
        if self.counts is not None:
            self.counts.put(places, self.counts.taken(places).add_(1))
        if numbers.news is not None:
            self._average(places, numbers.news)

    def _average(self, places: Tensor | None, news: Tensor) -> None:
        pairs = [(self.averages, self.parameters)]
        pairs += [(others.averages, others.arena) for others in self.others]
        for averages, arena in pairs:
            if averages is not None:
                means = averages.taken(places)
                averages.put(places, means.lerp_(arena.taken(places), news.to(means)))


def _rule_of(member: Member) -> UpdateRule:
    """How a member is updated."""
    assert isinstance(member.alone.optimizer, Optimizer)
    return member.alone.optimizer.rule


def release_rows(member: Member) -> None:
    """Give a member memory of its own."""
    learner = member.alone
    states = [tensor for kind in _states(member) for tensor in kind]
    others = list(_untrained(learner.model).values())
    averages = [average for _, average in learner.average.pairs()] if learner.average else []
    release([*learner.parameters, *member.gradients, *states, *others, *averages])


def _states(member: Member) -> list[list[Tensor]]:
    """For each kind of state, a tensor of each parameter."""
    assert isinstance(member.alone.optimizer, Optimizer)
    states = member.alone.optimizer.states_of(member.alone.parameters)
    return [list(kind) for kind in zip(*states, strict=True)]


def _averages(member: Member, tensors: Sequence[Tensor]) -> list[Tensor]:
    assert member.alone.average is not None
    averages = {id(live): average for live, average in member.alone.average.pairs()}
    return [averages[id(tensor)] for tensor in tensors]


def _untrained(model: nn.Module) -> dict[str, Tensor]:
    fixed = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    return {**fixed, **dict(model.named_buffers())}


def _others(members: Sequence[Member]) -> list[Others]:
    models = [_untrained(member.alone.model) for member in members]
    found = []
    for dtype in dict.fromkeys(tensor.dtype for tensor in models[0].values()):
        names = [name for name, tensor in models[0].items() if tensor.dtype == dtype]
        tensors = [[model[name] for name in names] for model in models]
        averages = None
        if members[0].alone.average is not None and dtype.is_floating_point:
            averages = Arena([_averages(m, t) for m, t in zip(members, tensors, strict=True)])
        found.append(Others(names, Arena(tensors), averages))
    return found
