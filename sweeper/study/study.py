"""A study in its storage: the parts that work on it, put together.

The storage is the truth about trials.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.config.grid import count_goal, count_settings
from sweeper.config.settings import Draws, TrialConfig
from sweeper.config.study import StudySpec
from sweeper.locks import locality
from sweeper.paths import RunPaths
from sweeper.study.agents import AgentAtWork, agents_at_work
from sweeper.study.attributes import (
    Attr,
    StudyAttributes,
    StudyDraws,
    StudyKey,
    TrialRecord,
    read_attribute,
    state_of,
)
from sweeper.study.leases import Leases
from sweeper.study.pruner_in_use import PrunerInUse
from sweeper.study.queue import Plan, TrialQueue
from sweeper.study.sampler_in_use import SamplerInUse
from sweeper.study.samplers.draw import Drawn, ask, drawn_config, open_sampler
from sweeper.study.samplers.model_view import ModelView
from sweeper.study.samplers.optuna import build_sampler
from sweeper.study.samplers.proposal import Sampler
from sweeper.study.samplers.window import TrialWindow
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.object_store import ObjectStore
from sweeper.study.storage.shared_locks import open_locks
from sweeper.study.trial_cache import TrialCache
from sweeper.trial import TrialState

if TYPE_CHECKING:
    from sweeper.study.samplers.alignment import Alignment

#: Settings for each trial of the goal, up to which a study takes care that none is tried twice at
#: one moment. Beyond it is rare and spoils little, while drawing one by one would cost each trial.
_FEW = 10
#: Trials whose draws, which run in other processes now, are foreseen.
_MOST_BESIDE = 7


class SweepStudy:
    """One study in its storage. Safe to use from several processes at once.

    Raises:
        KeyError: If the storage has no study of that name.

    Attributes:
        spec: The study file.
        paths: Files of the study on this machine.
        storage: Optuna's own.
        study_id: In that storage.
        attributes: What the storage keeps of it as a whole.
        goal: Finished trials to reach: the budget, or all settings if they are fewer.
        cache: What this process has seen of the trials.
        lock_of: File -> the lock of that name among all who share the storage.
        lock: Held by whoever counts the trials and then claims or enqueues one, on any machine.
        queue: The trials that wait.
        leases: Of the agents that work on it.
        sampler: Who draws, and what it sees.
        pruner: Says which trials end early, and what that hangs on.
    """

    def __init__(self, spec: StudySpec, paths: RunPaths, storage: BaseStorage) -> None:
        self.spec = spec
        self.paths = paths
        self.storage = storage
        self.study_id = storage.get_study_id_from_name(spec.name)
        self.attributes = StudyAttributes(storage, self.study_id)
        self.goal = count_goal(spec)
        self.cache = TrialCache(storage, self.study_id, spec.objective.signs, spec.ranges())
        self.lock_of = open_locks(spec)
        self.lock = self.lock_of(paths.lock)
        self.queue = TrialQueue(
            storage,
            self.study_id,
            plan=Plan(spec, self.goal),
            cache=self.cache,
            lock=self.lock,
        )
        self.leases = Leases(self.attributes, locality(paths.study_dir))
        self.sampler = SamplerInUse(storage, self.study_id, spec, self.goal)
        self.pruner = PrunerInUse(storage, self.study_id, spec, self.lock)
        self._samplers: dict[str, Sampler] = {}

    @cached_property
    def is_small(self) -> bool:
        """Whether two trials that are drawn at one moment may well be the same, but must not."""
        many = _FEW * self.goal
        is_once = self.spec.sampler.duplicates == "never"
        return is_once and count_settings(self.spec, many) < many

    @cached_property
    def object_store(self) -> ObjectStore | None:
        """Where nodes without a common folder leave each other trials, if the file names one."""
        if self.spec.run.object_store is None:
            return None
        with store_errors():
            found = self.attributes.read().get(Attr.KEY)
        if found is None:
            return None
        [key] = read_attribute(StudyKey, [found], "the key")
        return ObjectStore(self.spec.run.object_store, study=self.spec.name, key=key)

    @cached_property
    @store_errors()
    def draws(self) -> Draws:
        """How the batches of its trials draw; settled as it began, by whether it had lanes."""
        found = self.attributes.read().get(Attr.DRAWS, "stream")
        [draws] = read_attribute(StudyDraws, [found], "how its trials draw")
        return draws

    def trials(self, states: Sequence[OptunaState] | None = None) -> list[FrozenTrial]:
        """Trials by number, all of them or those in the given states."""
        trials: list[FrozenTrial] = self.storage.get_all_trials(
            self.study_id, deepcopy=False, states=states
        )
        return trials

    def trial_id(self, number: int) -> int:
        """The storage's own id of a trial."""
        return int(self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number))

    def record(self, number: int) -> TrialRecord:
        """One trial as the storage has it now."""
        return TrialRecord.of(self.storage.get_trial(self.trial_id(number)))

    def records(self) -> list[TrialRecord]:
        """All trials as the storage has them now, by number."""
        return [TrialRecord.of(trial) for trial in self.trials()]

    def counts(self) -> Counter[TrialState]:
        """How many trials stand how."""
        return Counter(state_of(trial) for trial in self.trials())

    def n_finished(self) -> int:
        """Trials that count towards the goal: complete and pruned (diverged is pruned)."""
        return self.cache.look().n_finished

    @store_errors()
    def agents(self) -> list[AgentAtWork]:
        """Those at work, on whatever machine."""
        return agents_at_work(self.attributes, self.leases, self.paths.presence_dir)

    def draw(self, trials: Sequence[FrozenTrial]) -> list[Drawn]:
        """Settings for claimed trials, by the sampler in use; nothing is written.

        Raises:
            StudyError: If ``forbid`` leaves nothing that could be drawn.
        """
        window = self.sampler.window()
        history = self._history(window)
        beside = [] if window.sampler != "conditional_gp" else _drawing(history, trials)
        drawn = ask(
            self._opened(window.sampler),
            self.spec,
            trials=[*beside, *trials],
            history=history,
            is_tried=self.cache.is_tried,
        )
        return [
            replace(each, config=replace(each.config, draws=self.draws))
            for each in drawn[len(beside) :]
        ]

    def drawn_config(self, trial: FrozenTrial) -> TrialConfig:
        """What a trial ran with that has all of its settings.

        Raises:
            StudyError: If it has a value that its range has not, or lacks one.
        """
        return replace(drawn_config(self.spec, trial), draws=self.draws)

    def explain_model(self) -> ModelView | None:
        """What the model of the sampler in use says; None if it has none, or not yet."""
        window = self.sampler.window()
        sampler = self._opened(window.sampler)
        return sampler.explain(self._history(window), self.cache.is_tried)

    def _history(self, window: TrialWindow) -> list[FrozenTrial]:
        """What a sampler sees; of an earlier study in the units of this one."""
        trials = window.trials(self.cache, self.sampler.known)
        return self._alignment.align(trials) if self.sampler.known else trials

    @cached_property
    def _alignment(self) -> "Alignment":
        from sweeper.study.samplers.alignment import Alignment  # scipy, which few commands need

        return Alignment(self.spec, self.sampler.known)

    def _opened(self, name: str) -> Sampler:
        if name not in self._samplers:
            self._samplers[name] = open_sampler(
                name,
                self.spec,
                storage=self.storage,
                study_id=self.study_id,
                pruner=self.pruner.built,
            )
        return self._samplers[name]

    def handle(self) -> optuna.Study:
        """A fresh Optuna study object; it caches the trials, so none is kept."""
        return optuna.Study(
            self.spec.name,
            self.storage,
            sampler=build_sampler("random", seed=0),
            pruner=self.pruner.built(),
        )


def _drawing(history: Sequence[FrozenTrial], trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials before these whose settings are drawn at this moment; what they get can be told."""
    first = min(trial.number for trial in trials)
    running = (trial for trial in history if trial.state == OptunaState.RUNNING)
    blank = [trial for trial in running if trial.number < first and not trial.params]
    return blank[-_MOST_BESIDE:]
