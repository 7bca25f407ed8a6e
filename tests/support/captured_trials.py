"""Trials in float64 that are trained alone and as members of packs whose programs are captured."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from sweeper.config.settings import ModelConfig
from sweeper.data.dataset import TrialData
from sweeper.data.order import Shuffle
from sweeper.timing import TimeLedger
from sweeper.training.eager import EagerLearner
from sweeper.training.learner import Batches, EpochTotals, Learner, Runtime
from sweeper.training.packed.pack import Pack
from sweeper.training.seed import BatchSeeds
from sweeper.training.stretch import stretches
from tests.support.paired_trials import CPU, MLP, assert_same_state, learner_of, on_device

#: Of 29 rows: four batches, and one that is shorter.
BATCH_SIZE, N_BATCHES = 6, 5


class Twin:
    """A trial alone and the same one as a member, which do whole passes.

    Args:
        pack: Of the member.
        data: Of the trial.
        model: Of the trial; a module is copied.
        settings: Keys of ``train``.
        seed: Of its weights, draws and orders.
        device: Where both are trained.
        own_code: Whether the model may draw from Python's generator.
    """

    def __init__(
        self,
        pack: Pack,
        data: TrialData,
        model: ModelConfig | nn.Module = MLP,
        settings: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        device: torch.device = CPU,
        own_code: bool = False,
    ) -> None:
        data, runtime = on_device(data, device), Runtime(device)

        def build() -> EagerLearner:
            own = copy.deepcopy(model)
            return learner_of(data, own, settings or {}, seed=seed, runtime=runtime)

        self._device = device
        self._has_own_code = own_code
        self.alone = build()
        self.member = pack.join(build(), seed, takes_rows=True)
        self._data = data
        self._seed = seed

    def train(self, n_epochs: int) -> Iterator[None]:
        """Both are trained and measured; the pack is to do what the member has at each step."""
        orders = [Shuffle(self._seed) for _ in range(2)]
        for epoch in range(n_epochs):
            measured = []
            learners: tuple[Learner, Learner] = self.alone, self.member
            for learner, order in zip(learners, orders, strict=True):
                learner.totals = EpochTotals()
                steps = self._pass(learner, learner.train, epoch, order)
                yield from (step for step in steps if learner is self.member)
                loss = learner.end_training()
                steps = self._pass(learner, learner.evaluate, epoch, None)
                yield from (step for step in steps if learner is self.member)
                measured.append((loss, *learner.end_evaluation()))
            (loss, *first), (own_loss, *second) = measured
            # Totals are float32.
            torch.testing.assert_close(own_loss, loss, rtol=1e-6, atol=0, equal_nan=True)
            torch.testing.assert_close(second, first, rtol=1e-6, atol=0, equal_nan=True)

    def _pass(
        self,
        learner: Learner,
        take: Callable[[Batches], None],
        epoch: int,
        order: Shuffle | None,
    ) -> Iterator[None]:
        seeds = None
        if order is not None:
            seeds = BatchSeeds(
                self._seed, self._device, has_own_code=self._has_own_code, has_keys=True
            )
        batches, number = self._data.train.batches(BATCH_SIZE, shuffle=order), epoch * N_BATCHES
        parts = stretches(
            batches, lambda: learner.stride, ledger=TimeLedger(), seeds=seeds, number=number
        )
        for part in parts:
            take(part)
            yield

    def check(self) -> None:
        """All that both hold is the same."""
        # Kernels of a GPU sum in another order, and some of them in any.
        tolerance = 1e-12 if self._device == CPU else 1e-10
        assert_same_state(self.member.state_dict(), self.alone.state_dict(), tolerance)
        assert_same_state(self.member.weights(), self.alone.weights(), tolerance)


def train_twins(
    packs: Sequence[Pack], twins: Sequence[Twin], n_epochs: int, *, delay: int = 0
) -> None:
    """Each for so many epochs, the next one as many steps later."""
    waiting = [(number * delay, twin.train(n_epochs)) for number, twin in enumerate(twins)]
    turn = 0
    while waiting:
        for begin, steps in list(waiting):
            if turn >= begin and next(steps, "end") == "end":
                waiting.remove((begin, steps))
        for pack in packs:
            if pack.names_at_work:
                pack.step()
        turn += 1
