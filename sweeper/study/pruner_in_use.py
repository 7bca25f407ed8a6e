"""Which pruner ends trials, and what all workers of a study take for the length of a trial."""

import optuna
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.config.study import StudySpec
from sweeper.locks import Lock
from sweeper.study.attributes import Attr, StudyAttributes
from sweeper.study.pruners import (
    Epochs,
    PrunerUse,
    build_pruner,
    epochs_of,
    explain_pruner,
    needs_epochs,
)
from sweeper.study.storage.backend import store_errors


class PrunerInUse:
    """The pruner that all workers of a study end trials with.

    It is told how many epochs the longest trial has: by the study file, else by the first trial
    whose code says so, else by the first that is complete, and until then nothing is pruned. The
    last two are settled once, in the storage, so that trials are compared after the same epochs.

    Args:
        storage: Of the study.
        study_id: In that storage.
        spec: The study file.
        lock: Held by whoever settles something for all.
    """

    def __init__(self, storage: BaseStorage, study_id: int, spec: StudySpec, lock: Lock) -> None:
        self._storage = storage
        self._study_id = study_id
        self._attributes = StudyAttributes(storage, study_id)
        self._spec = spec
        self._lock = lock
        self._epochs = epochs_of(spec)
        self._built: BasePruner | None = None

    @store_errors()
    def explain(self) -> PrunerUse:
        """Its name, how early it ends trials, and why."""
        return explain_pruner(self._spec.pruner, self._known_epochs())

    @store_errors()
    def n_epochs(self) -> int | None:
        """Epochs of the longest trial; None if nobody knows yet."""
        epochs = self._known_epochs()
        return epochs.n if epochs else None

    def built(self) -> BasePruner:
        """Optuna's own."""
        if self._built is None:
            epochs = self._known_epochs()
            pruner = build_pruner(self._spec.pruner, epochs)
            if epochs is None and needs_epochs(self._spec.pruner):
                return pruner
            if isinstance(pruner, HyperbandPruner):
                self._count_brackets(pruner)
            self._built = pruner
        return self._built

    def is_over(self, handle: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial ends after its last epoch.

        Args:
            handle: Of the study.
            trial: With that epoch's value.
        """
        if needs_epochs(self._spec.pruner) and self._known_epochs() is None:
            self._learn_epochs()
        return bool(self.built().prune(handle, trial))

    def plan(self, number: int, n_epochs: int) -> None:
        """A trial's code says how many epochs the trial will report, before the first one.

        Args:
            number: Of the trial.
            n_epochs: As many, >= 1.
        """
        if needs_epochs(self._spec.pruner) and self._known_epochs() is None:
            self._settle(n_epochs, f"trial {number} planned {n_epochs}")

    def _known_epochs(self) -> Epochs | None:
        if self._epochs is None and needs_epochs(self._spec.pruner):
            settled = self._attributes.read().get(Attr.EPOCHS)
            self._epochs = Epochs(*settled) if settled else None
        return self._epochs

    def _learn_epochs(self) -> None:
        """Take the length of the longest complete trial, if there is one."""
        complete = self._storage.get_all_trials(
            self._study_id, deepcopy=False, states=(TrialState.COMPLETE,)
        )
        longest = max(complete, key=lambda trial: trial.last_step or 0, default=None)
        if longest is not None and longest.last_step:
            self._settle(longest.last_step, f"trial {longest.number} had {longest.last_step}")

    def _settle(self, n_epochs: int, source: str) -> None:
        with self._lock.held():
            self._attributes.settle(Attr.EPOCHS, [n_epochs, source])

    def _count_brackets(self, pruner: HyperbandPruner) -> None:
        """Let it count out its brackets, which it does when it is first asked about a trial.

        Until then whoever draws would be shown the trials of all brackets.
        """
        handle = optuna.Study(self._spec.name, self._storage, pruner=pruner)
        pruner.prune(handle, create_trial(state=TrialState.RUNNING))
