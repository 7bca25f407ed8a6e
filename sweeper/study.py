"""The Optuna study of a study file: goal, waiting trials, claims.

The storage is the truth about trials. As many trials wait in it as are still wanted, and workers
claim them by WAITING -> RUNNING, so the total is exact however many work on it.
"""

import hashlib
import json
import re
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from itertools import chain, islice, repeat, takewhile
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.config import Scalar
from sweeper.errors import DataError, StudyError
from sweeper.lock import FileLock, is_present
from sweeper.paths import RunPaths
from sweeper.sampling import build_pruner, build_sampler, choose_sampler
from sweeper.space import count_goal, grid_points
from sweeper.spec import StudySpec
from sweeper.spec.render import plain_study
from sweeper.storage import open_storage
from sweeper.trial import TrialState

#: Parts of a study file that decide what its trials mean; they cannot change once it has begun.
FROZEN = ("objective", "seed", "data", "model", "train", "forbid")
#: A trial whose worker dies more often without a new epoch is taken to be the reason, and fails.
MOST_DEATHS = 3
#: So many failures in a row with one cause end a run: the next trial would fail as well.
FAILURE_STREAK = 10
#: So many in a row of whatever causes end it too.
LONGEST_STREAK = 30

#: Where Optuna's own ``enqueue_trial`` keeps the values that a trial begins with.
_FIXED = "fixed_params"
_CLAIMED = (OptunaState.RUNNING, OptunaState.COMPLETE, OptunaState.PRUNED)
_WANTED = (OptunaState.WAITING, *_CLAIMED)


class Attr(StrEnum):
    """Names of the user attributes that sweeper keeps in the storage."""

    FROZEN = "sweeper.frozen"
    SAMPLER = "sweeper.sampler"
    FINGERPRINT = "sweeper.fingerprint"
    STATE = "sweeper.state"
    CAUSE = "sweeper.cause"
    OWNER = "sweeper.owner"
    RESUMED = "sweeper.resumed"
    DEATHS = "sweeper.deaths"


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
        lock: Held by whoever must look at several trials and then change one.
    """

    def __init__(self, spec: StudySpec, paths: RunPaths, storage: BaseStorage) -> None:
        self.spec = spec
        self.paths = paths
        self.storage = storage
        self.study_id = storage.get_study_id_from_name(spec.name)
        self.pruner = build_pruner(spec.pruner)
        self.goal = count_goal(spec)
        self.lock = FileLock(paths.lock)

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
        return len(self.trials((OptunaState.COMPLETE, OptunaState.PRUNED)))

    def best_trial(self) -> FrozenTrial | None:
        """The best complete trial; None before the first, or with several metrics."""
        complete = self.trials((OptunaState.COMPLETE,))
        if not complete or len(self.spec.objective.metrics) > 1:
            return None
        sign = -1 if self.spec.objective.directions[0] == "maximize" else 1
        return min(complete, key=lambda trial: sign * trial.values[0])

    def sampler(self) -> tuple[str, str]:
        """The sampler in use and why; ``auto`` may have moved on since the study began."""
        attrs = self.storage.get_study_user_attrs(self.study_id)
        if self.spec.sampler.name == "auto" and Attr.SAMPLER in attrs:
            name, why = attrs[Attr.SAMPLER]
            return name, why
        return choose_sampler(self.spec)

    def use_sampler(self, name: str, why: str) -> None:
        """Let all workers draw with another sampler from now on."""
        self.storage.set_study_user_attr(self.study_id, Attr.SAMPLER, [name, why])

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
            self.storage.set_study_user_attr(self.study_id, key, fingerprint)
        elif before != fingerprint:
            raise DataError(
                f"the data have fingerprint {fingerprint}, but earlier trials of this study had "
                f"{before}; trials on different data would not compare: bring the same rows each "
                "time (a seed in a load function?), or give the study file a new `name:`"
            )

    def handle(self) -> optuna.Study:
        """A fresh Optuna study object; a handle caches the history, so none is kept."""
        return optuna.Study(
            self.spec.name,
            self.storage,
            sampler=build_sampler("random", seed=0),
            pruner=self.pruner,
        )

    def top_up(self) -> int:
        """Enqueue trials until as many wait as are still wanted; the number enqueued.

        New trials begin with the planned settings first; what is left of these, as the file was
        changed, goes to trials that wait without any.
        """
        with self.lock.held():
            n_missing = max(self.goal - len(self.trials(_WANTED)), 0)
            planned = self._planned()
            for setting in list(islice(chain(planned, repeat({})), n_missing)):
                self._enqueue(setting)
            for trial in self.trials((OptunaState.WAITING,)):
                is_blank = not trial.params and not trial.system_attrs.get(_FIXED)
                if is_blank and (setting := next(planned, {})):
                    trial_id = self.trial_id(trial.number)
                    self.storage.set_trial_system_attr(trial_id, _FIXED, dict(setting))
        return n_missing

    def _planned(self) -> Iterator[Mapping[str, Scalar]]:
        """Settings that no trial began with: points of the grid, or what is enqueued, once."""
        is_grid = self.spec.sampler.name == "grid"
        # Of a grid every point is wanted, so one that failed is tried again.
        trials = self.trials(_WANTED if is_grid else None)
        taken = {frozenset(trial.system_attrs.get(_FIXED, {}).items()) for trial in trials}
        settings = grid_points(self.spec) if is_grid else iter(self.spec.enqueue)
        return (setting for setting in settings if frozenset(setting.items()) not in taken)

    def _enqueue(self, setting: Mapping[str, Scalar]) -> None:
        self.storage.create_new_trial(
            self.study_id,
            optuna.trial.create_trial(
                state=OptunaState.WAITING, system_attrs={_FIXED: dict(setting)}
            ),
        )

    def claim(self, name: str) -> FrozenTrial | None:
        """Take the first waiting trial for the process that is present under that name.

        Claims without creating: None when no trial waits, or when those that run will reach
        the goal (the budget may have been lowered).
        """
        with self.lock.held():
            if len(self.trials(_CLAIMED)) >= self.goal:
                return None
            for trial in self.trials((OptunaState.WAITING,)):
                if self._take(self.trial_id(trial.number), name):
                    return self.storage.get_trial(self.trial_id(trial.number))
        return None

    def _take(self, trial_id: int, name: str) -> bool:
        """WAITING -> RUNNING; the owner comes first, so that no trial ever runs without one."""
        owner = f"{socket.gethostname()}:{name}"
        try:
            self.storage.set_trial_user_attr(trial_id, Attr.OWNER, owner)
            if not self.storage.set_trial_state_values(trial_id, OptunaState.RUNNING):
                return False
        except UpdateFinishedTrialError:
            return False
        if self.storage.get_trial(trial_id).user_attrs[Attr.OWNER] != owner:
            # Another machine tried at the same time and lost.
            self.storage.set_trial_user_attr(trial_id, Attr.OWNER, owner)
        return True

    def put_back(self, number: int) -> None:
        """RUNNING -> WAITING: another process goes on with the trial from its checkpoint."""
        trial_id = self.trial_id(number)
        attrs = self.storage.get_trial(trial_id).user_attrs
        self.storage.set_trial_user_attr(trial_id, Attr.RESUMED, attrs.get(Attr.RESUMED, 0) + 1)
        self.storage.set_trial_state_values(trial_id, OptunaState.WAITING)

    def orphans(self) -> list[FrozenTrial]:
        """RUNNING trials whose worker on this machine is gone. Call it with ``lock`` held."""
        orphans = []
        for trial in self.trials((OptunaState.RUNNING,)):
            host, _, name = trial.user_attrs[Attr.OWNER].rpartition(":")
            # A journal lies beside the locks of its workers, whatever the machine is called today.
            is_here = self.spec.storage == "auto" or host == socket.gethostname()
            if is_here and not is_present(self.paths.presence_dir, name):
                orphans.append(trial)
        return orphans

    def failure_streak(self, since: datetime) -> str | None:
        """The latest cause of too many failures in a row since then (local time), if so many."""
        ended = sorted(
            (trial.datetime_complete, trial.number, trial)
            for trial in self.trials()
            if trial.datetime_complete is not None and trial.datetime_complete >= since
        )
        latest_first = (trial for *_, trial in reversed(ended))
        failed = list(takewhile(lambda trial: trial.state == OptunaState.FAIL, latest_first))
        causes = [str(trial.user_attrs.get(Attr.CAUSE, "unknown")) for trial in failed]
        alike = {re.sub(r"\d+", "#", cause) for cause in causes[:FAILURE_STREAK]}
        is_streak = len(causes) >= FAILURE_STREAK and len(alike) == 1
        return causes[0] if is_streak or len(causes) >= LONGEST_STREAK else None


def create_study(spec: StudySpec, paths: RunPaths) -> SweepStudy:
    """Open the study, or begin it.

    Raises:
        StudyError: If the storage cannot be opened, or the file's search changed since the study
            began.
    """
    storage = open_storage(spec, paths)
    frozen = {key: value for key, value in plain_study(spec).items() if key in FROZEN}
    frozen.get("data", {}).pop("root", None)  # where the files lie does not change what they are
    with FileLock(paths.lock).held():
        study_id = _find_or_create(spec, storage)
        attrs = storage.get_study_user_attrs(study_id)
        if Attr.FROZEN not in attrs:
            storage.set_study_user_attr(study_id, Attr.FROZEN, frozen)
    _refuse_changes(spec, attrs.get(Attr.FROZEN, frozen), frozen)
    return SweepStudy(spec, paths, storage)


def _find_or_create(spec: StudySpec, storage: BaseStorage) -> int:
    with suppress(KeyError):
        return int(storage.get_study_id_from_name(spec.name))
    directions = [StudyDirection[direction.upper()] for direction in spec.objective.directions]
    with suppress(DuplicatedStudyError):  # another machine was faster
        return int(storage.create_new_study(directions, spec.name))
    return int(storage.get_study_id_from_name(spec.name))


def load_study_from_storage(spec: StudySpec, paths: RunPaths) -> SweepStudy | None:
    """Open the study as it is; None if it has not begun."""
    if spec.storage == "auto" and not paths.journal.exists():
        return None
    storage = open_storage(spec, paths)
    try:
        return SweepStudy(spec, paths, storage)
    except KeyError:
        return None


def _refuse_changes(spec: StudySpec, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    old, new = _leaves(before), _leaves(now)
    changes = [
        f"  {name}: was {old.get(name, 'absent')}, is {new.get(name, 'absent')}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    if changes:
        raise StudyError(
            "\n".join(
                [
                    f"{spec.path}: the search has changed since study {spec.name!r} began:",
                    *changes,
                    "Trials before and after would not compare. Change it back, or give the file "
                    "a new `name:`; budget, sampler, pruner, run and tracking may change freely.",
                ]
            )
        )


def _leaves(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value and not value.keys() & {"low", "choices"}:
        return {
            name: leaf
            for key, inner in value.items()
            for name, leaf in _leaves(inner, f"{path}.{key}" if path else key).items()
        }
    return {path: json.dumps(value)}
