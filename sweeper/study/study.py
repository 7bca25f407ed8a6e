"""The Optuna study of a study file: goal, waiting trials, claims.

The storage is the truth about trials. Trials wait in it, never more than are still wanted, and
workers claim them by WAITING -> RUNNING, so the total is exact however many work on it.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from itertools import chain, islice, repeat, takewhile
from typing import Any, NamedTuple

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.config.settings import Scalar
from sweeper.config.space import count_goal, grid_points
from sweeper.config.study import StudySpec
from sweeper.durable import Step, durable
from sweeper.errors import DataError
from sweeper.locks import locality
from sweeper.paths import RunPaths
from sweeper.study.agents import Agent, agents_at_work
from sweeper.study.leases import Leases
from sweeper.study.samplers.optuna import build_pruner, build_sampler, choose_sampler
from sweeper.study.samplers.window import TrialWindow
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.object_store import ObjectStore
from sweeper.study.storage.shared_locks import open_locks
from sweeper.study.trial_cache import Excerpt, Standing, TrialCache
from sweeper.trial import FailureKind, TrialState

#: So many failures in a row with one cause end a run: the next trial would fail as well.
FAILURE_STREAK = 10
#: So many in a row of whatever causes end it too.
LONGEST_STREAK = 30
#: Trials wait up to this number, not up to the goal: a database reads anew at every look what has
#: not ended (9 ms for 64 trials, 260 ms for 2,000), and each takes a write before work begins.
_MOST_READY = 32

#: Where Optuna's own ``enqueue_trial`` keeps the values that a trial begins with.
_FIXED = "fixed_params"
#: Of a trial that did not fail.
_GOOD = (OptunaState.WAITING, OptunaState.RUNNING, OptunaState.COMPLETE, OptunaState.PRUNED)


class Attr(StrEnum):
    """Names of the user attributes that sweeper keeps in the storage."""

    FROZEN = "sweeper.frozen"
    SAMPLER = "sweeper.sampler"
    SIGHT = "sweeper.sight"
    FINGERPRINT = "sweeper.fingerprint"
    STATE = "sweeper.state"
    CAUSE = "sweeper.cause"
    OWNER = "sweeper.owner"
    FAILURE = "sweeper.failure"
    RESUMED = "sweeper.resumed"
    RETRIES = "sweeper.retries"
    SECONDS = "sweeper.seconds"
    KEY = "sweeper.key"


class Owner(NamedTuple):
    """Who works on a trial.

    Attributes:
        agent: Holds the lease.
        worker: Name of its presence file.
        claim: Claims of this trial so far, the fencing number: a process that claimed it before
            finds a higher one, and must write nothing more.
    """

    agent: str
    worker: str
    claim: int

    @classmethod
    def of(cls, trial: FrozenTrial) -> "Owner":
        """Of a trial that was claimed once, the last one."""
        return cls(*trial.user_attrs[Attr.OWNER])


def _n_claims(trial: FrozenTrial) -> int:
    return Owner.of(trial).claim if Attr.OWNER in trial.user_attrs else 0


def wants_device_alone(trial: FrozenTrial) -> bool:
    """Whether the trial ran out of memory beside others."""
    return FailureKind.OUT_OF_MEMORY in trial.user_attrs.get(Attr.RETRIES, {})


def state_of(trial: FrozenTrial) -> TrialState:
    """How a trial of the storage stands, in sweeper's words."""
    if trial.state == OptunaState.FAIL:
        return TrialState.FAILED
    if trial.state == OptunaState.PRUNED:
        return TrialState(trial.user_attrs.get(Attr.STATE, TrialState.PRUNED))
    return TrialState(trial.state.name.lower())


class SweepStudy:
    """One study in its storage. Safe to use from several processes at once.

    Attributes:
        goal: Finished trials to reach: the budget, or the whole grid if that is smaller.
        history: What this process has seen of the trials.
        lock: Held by whoever counts the trials and then claims or enqueues one, on any machine.
        lock_of: File -> the lock of that name among all who share the storage.
        leases: Of the agents that work on it.
    """

    def __init__(self, spec: StudySpec, paths: RunPaths, storage: BaseStorage) -> None:
        self.spec = spec
        self.paths = paths
        self.storage = storage
        self.study_id = storage.get_study_id_from_name(spec.name)
        self.pruner = build_pruner(spec.pruner)
        self.goal = count_goal(spec)
        self.lock_of = open_locks(spec)
        self.lock = self.lock_of(paths.lock)
        self.leases = Leases(storage, self.study_id, locality(paths.study_dir))
        self.history = TrialCache(storage, self.study_id, spec.objective.directions)

    @cached_property
    def object_store(self) -> ObjectStore | None:
        """Where nodes without a common folder leave each other trials, if the file names one."""
        if self.spec.run.object_store is None:
            return None
        with store_errors():
            key = self.storage.get_study_user_attrs(self.study_id).get(Attr.KEY)
        return (
            ObjectStore(self.spec.run.object_store, study=self.spec.name, key=key) if key else None
        )

    def trials(self, states: Sequence[OptunaState] | None = None) -> list[FrozenTrial]:
        """Trials by number, all of them or those in the given states."""
        trials: list[FrozenTrial] = self.storage.get_all_trials(
            self.study_id, deepcopy=False, states=states
        )
        return trials

    def trial_id(self, number: int) -> int:
        """The storage's own id of a trial."""
        return int(self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number))

    def counts(self) -> Counter[TrialState]:
        """How many trials stand how."""
        return Counter(state_of(trial) for trial in self.trials())

    def n_finished(self) -> int:
        """Trials that count towards the goal: complete and pruned (diverged is pruned)."""
        return self.history.look().n_finished

    def best_trial(self) -> FrozenTrial | None:
        """The best complete trial; None before the first, or with several metrics."""
        complete = self.trials((OptunaState.COMPLETE,))
        if not complete or len(self.spec.objective.metrics) > 1:
            return None
        sign = -1 if self.spec.objective.directions[0] == "maximize" else 1
        return min(complete, key=lambda trial: sign * trial.values[0])

    @store_errors()
    def sampler(self) -> tuple[str, str]:
        """The sampler in use and why; ``auto`` may have moved on since the study began."""
        attrs = self.storage.get_study_user_attrs(self.study_id)
        name, why = self._sampler(attrs)
        unseen = self._sight(name, attrs).explain(self.goal)
        return name, "; ".join(filter(None, (why, unseen)))

    @store_errors()
    def use_sampler(self, name: str, why: str) -> None:
        """Let all workers draw with another sampler from now on."""
        self._set_attr(Attr.SAMPLER, [name, why])

    @store_errors()
    def sight(self) -> TrialWindow:
        """What the sampler in use sees of the study; its price may have made it less."""
        attrs = self.storage.get_study_user_attrs(self.study_id)
        name, _ = self._sampler(attrs)
        return self._sight(name, attrs)

    @store_errors()
    def use_sight(self, sight: TrialWindow) -> None:
        """Let its sampler see that from now on, in all workers."""
        self._set_attr(Attr.SIGHT, list(sight))

    def _sampler(self, attrs: Mapping[str, Any]) -> tuple[str, str]:
        if self.spec.sampler.name == "auto" and Attr.SAMPLER in attrs:
            name, why = attrs[Attr.SAMPLER]
            return name, why
        return choose_sampler(self.spec)

    def _sight(self, sampler: str, attrs: Mapping[str, Any]) -> TrialWindow:
        used = attrs.get(Attr.SIGHT)
        return TrialWindow(*used) if used and used[0] == sampler else TrialWindow.at_first(sampler)

    @store_errors()
    def settle_fingerprint(self, data: str, fingerprint: str) -> None:
        """Hold a fingerprint against that of the first trial on the same data.

        Args:
            data: What identifies the data: the settings that they were loaded with.
            fingerprint: Of what was loaded.

        Raises:
            DataError: If they differ, as trials on different data would not compare.
        """
        key = f"{Attr.FINGERPRINT}.{hashlib.sha256(data.encode()).hexdigest()[:16]}"
        before = self.storage.get_study_user_attrs(self.study_id).get(key)
        if before is None:
            self._set_attr(key, fingerprint)
        elif before != fingerprint:
            raise DataError(
                f"the data have fingerprint {fingerprint}, but earlier trials of this study had "
                f"{before}; trials on different data would not compare: bring the same rows each "
                "time (a seed in a load function?), or give the study file a new `name:`"
            )

    def _set_attr(self, key: str, value: object) -> None:
        with durable(Step.ATTRIBUTE):
            self.storage.set_study_user_attr(self.study_id, key, value)

    @store_errors()
    def agents(self) -> list[Agent]:
        """Those at work, on whatever machine."""
        return agents_at_work(self.storage, self.study_id, self.leases, self.paths.presence_dir)

    def handle(self, sight: TrialWindow | None = None) -> optuna.Study:
        """A fresh Optuna study object; a handle caches the history, so none is kept.

        Args:
            sight: All that a sampler sees that is asked with it; None for the whole study.
        """
        storage: Any = self.storage
        if sight is not None:
            storage = Excerpt(storage, sight.trials(self.history))
        return optuna.Study(
            self.spec.name, storage, sampler=build_sampler("random", seed=0), pruner=self.pruner
        )

    def top_up(self) -> int:
        """Enqueue trials until enough wait; the number enqueued.

        New trials begin with the planned settings first; what is left of these, as the file was
        changed, goes to trials that wait without any. While others hold the lock nothing is done:
        claims enqueue what they need, and an agent whose main thread waited would seem dead.
        """
        with self.lock.tried() as is_held:
            if not is_held:
                return 0
            n_new = self._fill(self.history.look())
            planned = self._planned()
            for trial in self.history.look().waiting:
                is_blank = not trial.params and not trial.system_attrs.get(_FIXED)
                if is_blank and (setting := next(planned, {})):
                    trial_id = self.trial_id(trial.number)
                    with durable(Step.TOP_UP):
                        self.storage.set_trial_system_attr(trial_id, _FIXED, dict(setting))
        return n_new

    @property
    def has_plan(self) -> bool:
        """Whether some trials begin with planned settings."""
        return bool(self._plan)

    def _fill(self, standing: Standing) -> int:
        """Enqueue what is still wanted, up to a number that keeps all workers busy."""
        n_wanted = self.goal - standing.n_claimed - len(standing.waiting)
        n_ready = sum(not wants_device_alone(trial) for trial in standing.waiting)
        n_new = max(min(n_wanted, _MOST_READY - n_ready), 0)
        for setting in list(islice(chain(self._planned(), repeat({})), n_new)):
            self._enqueue(setting)
        return n_new

    def _planned(self) -> Iterator[Mapping[str, Scalar]]:
        """Settings that no trial began with: points of the grid, or what is enqueued, once."""
        if not self._plan:
            return
        # Of a grid every point is wanted, so one that failed is tried again.
        trials = self.trials(_GOOD if self.spec.sampler.name == "grid" else None)
        taken = {frozenset(trial.system_attrs.get(_FIXED, {}).items()) for trial in trials}
        yield from (setting for setting in self._plan if frozenset(setting.items()) not in taken)

    @cached_property
    def _plan(self) -> Sequence[Mapping[str, Scalar]]:
        if self.spec.sampler.name == "grid":
            return list(islice(grid_points(self.spec), self.goal))
        return self.spec.enqueue

    def _enqueue(self, setting: Mapping[str, Scalar]) -> None:
        waiting = optuna.trial.create_trial(
            state=OptunaState.WAITING, system_attrs={_FIXED: dict(setting)}
        )
        with durable(Step.TOP_UP):
            self.storage.create_new_trial(self.study_id, waiting)

    def claim(
        self, agent: str, worker: str, *, alone: bool = False, but: Container[int] = ()
    ) -> FrozenTrial | None:
        """Take the first waiting trial for a worker of an agent that holds a lease.

        None when no trial waits and none is wanted beside those that run (the budget may have
        been lowered).

        Args:
            agent: Name of the agent.
            worker: Name of the worker's presence.
            alone: The worker has its device to itself; then, and only then, one of those trials
                is taken that want that.
            but: Numbers of trials that are left to others.
        """
        with self.lock.held():
            taken = self._claim(agent, worker, alone, but)
        if taken is None:
            return None
        trial_id, owner = taken
        # Without the lock, as this takes a database as long again. A process that stood
        # still here may find that the trial was taken over.
        trial = self.storage.get_trial(trial_id)
        return trial if Owner.of(trial) == owner else None

    def _claim(
        self, agent: str, worker: str, alone: bool, but: Container[int]
    ) -> tuple[int, Owner] | None:
        standing = self.history.look()
        if standing.n_claimed >= self.goal:
            return None
        is_none_ready = all(
            wants_device_alone(trial) or trial.number in but for trial in standing.waiting
        )
        if is_none_ready and not alone and self._fill(standing):
            standing = self.history.look()
        for trial in standing.waiting:
            if wants_device_alone(trial) != alone or trial.number in but:
                continue
            trial_id = self.trial_id(trial.number)
            owner = Owner(agent, worker, _n_claims(trial) + 1)
            if self._take(trial_id, owner):
                return trial_id, owner
        return None

    def _take(self, trial_id: int, owner: Owner) -> bool:
        """WAITING -> RUNNING; the owner comes first, so that no trial ever runs without one."""
        with durable(Step.CLAIM):
            try:
                self.storage.set_trial_user_attr(trial_id, Attr.OWNER, list(owner))
                return self.storage.set_trial_state_values(trial_id, OptunaState.RUNNING)
            except UpdateFinishedTrialError:
                return False

    def put_back(self, number: int) -> None:
        """RUNNING -> WAITING: another process goes on with the trial from its checkpoint."""
        trial_id = self.trial_id(number)
        attrs = self.storage.get_trial(trial_id).user_attrs
        with durable(Step.PUT_BACK):
            resumed = attrs.get(Attr.RESUMED, 0) + 1
            self.storage.set_trial_user_attr(trial_id, Attr.RESUMED, resumed)
            self.storage.set_trial_state_values(trial_id, OptunaState.WAITING)

    def failed(self) -> list[int]:
        """Numbers of the failed trials."""
        return [trial.number for trial in self.trials((OptunaState.FAIL,))]

    def is_over(self, earlier: Collection[int]) -> bool:
        """Whether the goal is reached, or :meth:`failure_streak` keeps from going on."""
        return self.n_finished() >= self.goal or self._streak(earlier) is not None

    def failure_streak(self, earlier: Collection[int]) -> str | None:
        """The latest cause of too many failures in a row, if so many; not counting earlier ones.

        Args:
            earlier: Numbers of trials that failed in former commands.
        """
        self.history.look()
        return self._streak(earlier)

    def _streak(self, earlier: Collection[int]) -> str | None:
        failed = takewhile(
            lambda trial: trial.state == OptunaState.FAIL and trial.number not in earlier,
            self.history.latest(LONGEST_STREAK),
        )
        causes = [str(trial.user_attrs.get(Attr.CAUSE, "unknown")) for trial in failed]
        alike = {re.sub(r"\d+", "#", cause) for cause in causes[:FAILURE_STREAK]}
        is_streak = len(causes) >= FAILURE_STREAK and len(alike) == 1
        return causes[0] if is_streak or len(causes) >= LONGEST_STREAK else None
