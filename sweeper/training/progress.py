"""How far a trial has come, from which another process goes on."""

from dataclasses import asdict
from typing import Any

import torch

from sweeper.data.order import Shuffle
from sweeper.training.learner import EpochTotals, Learner
from sweeper.training.seed import capture_rng_state, restore_rng_state
from sweeper.trial import EpochMetrics, Objective


class Progress:
    """How far a trial has come: all that another process needs to go on from here.

    Args:
        learner: Of the trial, before its first batch.
        objective: Decides which epoch counts.
        seed: Of the trial.
        device: On which it draws.

    Attributes:
        shuffle: Draws the order of the training rows, once an epoch.
        history: Of the epochs that are done.
        best_weights: Of the epoch that counts, on the CPU; empty before the first one.
        seconds: That the epoch under way took in processes that were stopped.
    """

    def __init__(
        self, learner: Learner, objective: Objective, *, seed: int, device: torch.device
    ) -> None:
        self._learner = learner
        self._objective = objective
        self._device = device
        self.shuffle = Shuffle(seed)
        self.history: list[EpochMetrics] = []
        self.best_weights: dict[str, Any] = {}
        self._start_epoch()

    @property
    def epoch(self) -> int:
        """That is under way, >= 1."""
        return len(self.history) + 1

    def _start_epoch(self) -> None:
        self._learner.totals, self.seconds = EpochTotals(), 0.0
        self._order = self.shuffle.state
        self._rng: dict[str, Any] | None = None

    def end_training(self) -> None:
        """All batches are trained on; an evaluation that is stopped is done again from here."""
        self._rng = capture_rng_state(self._device)

    def end_epoch(self, metrics: EpochMetrics) -> None:
        """The epoch is measured: keep its weights if it is the one that counts."""
        self.history.append(metrics)
        if self._is_latest_best():
            self.best_weights = self._learner.weights()
        self._start_epoch()

    def _is_latest_best(self) -> bool:
        return self._objective.best(self.history) is self.history[-1]

    def capture(self) -> dict[str, Any]:
        """What a checkpoint holds, after an epoch or in its midst; the tensors are no copies."""
        state = self._learner.state_dict()
        averaged = "average" in state
        totals = self._learner.totals
        is_best = not totals.n_batches and self._is_latest_best()
        return {
            "learner": state,
            "rng": self._rng or capture_rng_state(self._device),
            "shuffle": self._order,
            "history": [asdict(metrics) for metrics in self.history],
            # The same tensors twice take the room of one; an average of them is others.
            "best_weights": state["model"] if is_best and not averaged else self.best_weights,
            "totals": vars(totals),
            "seconds": self.seconds,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what another process captured, of the same trial."""
        self._learner.load_state_dict(saved["learner"])
        restore_rng_state(saved["rng"], self._device)
        self.shuffle.state = saved["shuffle"]
        self._start_epoch()
        self.history = [EpochMetrics(**record) for record in saved["history"]]
        self.best_weights = saved["best_weights"]
        self._learner.totals, self.seconds = EpochTotals(**saved["totals"]), saved["seconds"]
