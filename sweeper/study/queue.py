"""The queue of a study: the trials that wait in its storage, and who takes the next.

Never more trials wait than are still wanted, and workers claim them by WAITING -> RUNNING, so the
total is exact however many work on it.
"""

import copy
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import chain, cycle, islice, repeat

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.config.grid import grid_points
from sweeper.config.ranges import Setting, setting_key
from sweeper.config.settings import Scalar
from sweeper.config.study import StudySpec
from sweeper.durable import Step, durable
from sweeper.locks import Lock
from sweeper.study.attributes import (
    FIXED_PARAMS,
    Attr,
    Owner,
    n_claims,
    wants_device_alone,
)
from sweeper.study.storage.together import together
from sweeper.study.trial_cache import Standing, TrialCache, begun_with

#: Trials wait up to this number, not up to the goal: a database reads anew at every look what has
#: not ended (9 ms for 64 trials, 260 ms for 2,000), and each takes a write before work begins.
_MOST_READY = 32

#: Of a trial that did not fail.
_GOOD = (OptunaState.WAITING, OptunaState.RUNNING, OptunaState.COMPLETE, OptunaState.PRUNED)


class Plan:
    """The settings that trials begin with: points of the grid, or what is enqueued.

    A grid goes round again where the file says ``sampler.duplicates: reseed``.

    Args:
        spec: The study file.
        goal: Finished trials to reach.

    Attributes:
        goal: Finished trials to reach.
        takes: States of the trials that take their setting out of the plan. Of a grid every point
            is wanted, so one that failed is tried again.
    """

    def __init__(self, spec: StudySpec, goal: int) -> None:
        self._spec = spec
        self.goal = goal
        self.takes = _GOOD if spec.sampler.name == "grid" else None

    @cached_property
    def settings(self) -> Sequence[Mapping[str, Scalar]]:
        """All of them in their order. A grid takes a while to count out, so not before."""
        if self._spec.sampler.name == "grid":
            points = grid_points(self._spec)
            is_once = self._spec.sampler.duplicates == "never"
            return list(islice(points if is_once else cycle(points), self.goal))
        return self._spec.enqueue

    def left(self, trials: Iterable[FrozenTrial]) -> Iterator[Mapping[str, Scalar]]:
        """Those that none of these trials took; one that stands there twice takes two."""
        taken = Counter(self._key(self._taken_by(trial)) for trial in trials)
        for setting in self.settings:
            key = self._key(setting)
            if taken[key]:
                taken[key] -= 1
            else:
                yield setting

    def _taken_by(self, trial: FrozenTrial) -> Mapping[str, Scalar]:
        """Of a grid also what was drawn, as the file may have had another sampler before."""
        if self._spec.sampler.name == "grid":
            return begun_with(trial)
        fixed: Mapping[str, Scalar] = trial.system_attrs.get(FIXED_PARAMS, {})
        return fixed

    def _key(self, setting: Mapping[str, Scalar]) -> Setting:
        return setting_key(self._spec.ranges(), setting)


class TrialQueue:
    """The trials of one study that wait. Safe to use from several processes at once.

    Args:
        storage: Of the study.
        study_id: In that storage.
        plan: What trials begin with, and how many are to finish.
        cache: What this process has seen of the trials.
        lock: Held by whoever counts the trials and then claims or enqueues one, on any machine.
    """

    def __init__(
        self,
        storage: BaseStorage,
        study_id: int,
        *,
        plan: Plan,
        cache: TrialCache,
        lock: Lock,
    ) -> None:
        self._storage = storage
        self._study_id = study_id
        self._plan = plan
        self._cache = cache
        self._lock = lock

    @property
    def has_plan(self) -> bool:
        """Whether some trials begin with planned settings."""
        return bool(self._plan.settings)

    def top_up(self) -> int:
        """Enqueue trials until enough wait; the number enqueued.

        New trials begin with the planned settings first; what is left of these, as the file was
        changed, goes to trials that wait without any. While others hold the lock nothing is done:
        claims enqueue what they need, and an agent whose main thread waited would seem dead.
        """
        with self._lock.tried() as is_held:
            if not is_held:
                return 0
            n_new = self._fill(self._cache.look())
            planned = self._planned()
            for trial in self._cache.look().waiting:
                is_blank = not trial.params and not trial.system_attrs.get(FIXED_PARAMS)
                if is_blank and (setting := next(planned, {})):
                    trial_id = self._trial_id(trial)
                    with durable(Step.TOP_UP):
                        self._storage.set_trial_system_attr(trial_id, FIXED_PARAMS, dict(setting))
        return n_new

    def claim(
        self, agent: str, worker: str, *, n: int, alone: bool = False, but: Container[int] = ()
    ) -> list[FrozenTrial]:
        """Take the first waiting trials for a worker of an agent that holds a lease.

        They are fewer when no more wait and no more are wanted beside those that run (the budget
        may have been lowered), or when others write to them at the same moment.

        Args:
            agent: Name of the agent.
            worker: Name of the worker's presence.
            n: As many at most, >= 1.
            alone: The worker has its device to itself; then, and only then, those trials are
                taken that want that.
            but: Numbers of trials that are left to others.
        """
        with self._lock.held():
            taken = self._claim(agent, worker, n, alone, but)
        if not taken:
            return []
        # Without the lock, as this takes a database as long again. A process that stood still here
        # may find that a trial was taken over. Copies, as a storage may change what it handed out.
        running = (t for t in self._cache.look().running if t.number in taken)
        return [copy.deepcopy(t) for t in running if Owner.of(t) == taken[t.number]]

    def _claim(
        self, agent: str, worker: str, n: int, alone: bool, but: Container[int]
    ) -> Mapping[int, Owner]:
        """Claim so many; whose they are then by number, unless others were faster."""

        def is_ready(trial: FrozenTrial) -> bool:
            return wants_device_alone(trial) == alone and trial.number not in but

        standing = self._cache.look()
        n = min(n, self._plan.goal - standing.n_claimed)
        if n <= 0:
            return {}
        if sum(map(is_ready, standing.waiting)) < n and not alone and self._fill(standing, n):
            standing = self._cache.look()
        trials = list(islice(filter(is_ready, standing.waiting), n))
        owners = {trial.number: Owner(agent, worker, n_claims(trial) + 1) for trial in trials}
        self._take([(self._trial_id(trial), owners[trial.number]) for trial in trials])
        return owners

    def _take(self, wanted: Sequence[tuple[int, Owner]]) -> None:
        """WAITING -> RUNNING; the owner comes first, so that no trial ever runs without one."""
        # Who looks then finds whose they are, should one of them have ended a moment ago.
        with suppress(UpdateFinishedTrialError), durable(Step.CLAIM), together(self._storage):
            for trial_id, owner in wanted:
                self._storage.set_trial_user_attr(trial_id, Attr.OWNER, list(owner))
                self._storage.set_trial_state_values(trial_id, OptunaState.RUNNING)

    def _fill(self, standing: Standing, n: int = 1) -> int:
        """Enqueue what is still wanted, up to a number that keeps all workers busy, or so many."""
        n_wanted = self._plan.goal - standing.n_claimed - len(standing.waiting)
        n_ready = sum(not wants_device_alone(trial) for trial in standing.waiting)
        n_new = max(min(n_wanted, max(_MOST_READY, n) - n_ready), 0)
        for setting in list(islice(chain(self._planned(), repeat({})), n_new)):
            self._enqueue(setting)
        return n_new

    def _planned(self) -> Iterator[Mapping[str, Scalar]]:
        """Settings of the plan that no trial has taken; the trials are read if one is wanted."""
        if self.has_plan:
            yield from self._plan.left(
                self._storage.get_all_trials(
                    self._study_id, deepcopy=False, states=self._plan.takes
                )
            )

    def _enqueue(self, setting: Mapping[str, Scalar]) -> None:
        waiting = optuna.trial.create_trial(
            state=OptunaState.WAITING, system_attrs={FIXED_PARAMS: dict(setting)}
        )
        with durable(Step.TOP_UP):
            self._storage.create_new_trial(self._study_id, waiting)

    def _trial_id(self, trial: FrozenTrial) -> int:
        return int(
            self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)
        )
