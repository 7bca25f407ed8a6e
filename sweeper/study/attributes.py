"""What sweeper keeps of a study and of its trials in the storage's own attributes."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.config.names import Id
from sweeper.config.records import read_record
from sweeper.config.settings import Draws
from sweeper.durable import Step, durable
from sweeper.errors import DataError, StudyError
from sweeper.study.storage.backend import store_errors
from sweeper.timing import seconds_at_work
from sweeper.trial import DataInfo, FailureKind, Task, TrialState


class Attr(StrEnum):
    """Names of the user attributes; they stand in studies that have begun, so none changes."""

    FROZEN = "sweeper.frozen"
    SAMPLER = "sweeper.sampler"
    WINDOW = "sweeper.sight"
    FINGERPRINT = "sweeper.fingerprint"
    STATE = "sweeper.state"
    CAUSE = "sweeper.cause"
    OWNER = "sweeper.owner"
    FAILURE = "sweeper.failure"
    RESUMED = "sweeper.resumed"
    RETRIES = "sweeper.retries"
    SECONDS = "sweeper.seconds"
    KEY = "sweeper.key"
    EPOCHS = "sweeper.epochs"
    DRAWN_BY = "sweeper.drawn_by"
    CODE = "sweeper.code"
    TASK = "sweeper.task"
    DRAWS = "sweeper.draws"
    LANES = "sweeper.lanes"


#: Where Optuna's own ``enqueue_trial`` keeps the values that a trial begins with.
FIXED_PARAMS = "fixed_params"
#: What Optuna calls the ends of a trial, by our words; :func:`state_of` is the way back.
OPTUNA_STATE: Mapping[str, OptunaState] = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.DIVERGED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}
#: Failures that the settings are to blame for.
_BLAMED = (FailureKind.OUT_OF_MEMORY, FailureKind.TRIAL_TIMEOUT)


Declared = TypeVar("Declared")


def read_attribute(declared: type[Declared], record: object, what: str) -> Declared:
    """A value that the storage holds of a study, checked.

    Args:
        declared: What sweeper writes there.
        record: What stands there.
        what: It is, for people.

    Raises:
        StudyError: If it is something else.
    """
    try:
        return read_record(declared, record)
    except ValueError as exc:
        raise StudyError(
            f"{what} in the study's storage is not what sweeper writes there: {exc}. Who else may "
            "write to that storage? See to it, and give the file a new `name:` to begin anew"
        ) from exc


def below(prefix: str, attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Attributes of a study whose key begins so, by the rest of it."""
    for key, value in attributes.items():
        if key.startswith(prefix):
            yield key.removeprefix(prefix), value


class StudyAttributes:
    """What a storage keeps of a study as a whole, by key.

    Args:
        storage: Of the study.
        study_id: In that storage.
    """

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        self._storage = storage
        self._study_id = study_id

    def read(self) -> Mapping[str, Any]:
        """All of them, as they are now."""
        attributes: Mapping[str, Any] = self._storage.get_study_user_attrs(self._study_id)
        return attributes

    def put(self, key: str, value: Any, step: Step = Step.ATTRIBUTE) -> None:
        """Put one in place of what was there."""
        with durable(step):
            self._storage.set_study_user_attr(self._study_id, key, value)

    def settle(self, key: str, value: Any) -> Any:
        """One that is written once.

        Returns:
            What the storage says, which is ``value`` from now on if it said nothing yet.
        """
        settled = self.read().get(key)
        if settled is not None:
            return settled
        self.put(key, value)
        return value


class Owner(NamedTuple):
    """Who works on a trial.

    Attributes:
        agent: Holds the lease.
        worker: Name of its presence file.
        claim: Claims of this trial so far, the fencing number: a process that claimed it before
            finds a higher one, and must write nothing more.
    """

    agent: Id
    worker: Id
    claim: int

    @classmethod
    def of(cls, trial: FrozenTrial) -> "Owner":
        """Of a trial that was claimed once, the last one.

        Raises:
            StudyError: If it is none that sweeper writes.
        """
        return read_attribute(
            cls, trial.user_attrs[Attr.OWNER], f"the owner of trial {trial.number}"
        )


class Learned(NamedTuple):
    """What is learned of the data.

    Attributes:
        task: Of the targets.
        naive: What a model reaches that says the same of every row, in the task's metric of
            ``NAIVE_METRICS``; None where it has none.
    """

    task: Task
    naive: float | None


class StudyKey(NamedTuple):
    """Tells a study from all others of its name, in its folder and in the object store."""

    key: Id


class StudyDraws(NamedTuple):
    """How batches draw, as in :class:`~sweeper.config.settings.TrialConfig`."""

    draws: Draws


def n_claims(trial: FrozenTrial) -> int:
    """How often the trial was claimed."""
    return Owner.of(trial).claim if Attr.OWNER in trial.user_attrs else 0


def wants_device_alone(trial: FrozenTrial) -> bool:
    """Whether the trial ran out of memory beside others."""
    return FailureKind.OUT_OF_MEMORY in trial.user_attrs.get(Attr.RETRIES, {})


def is_suspect(trial: FrozenTrial) -> bool:
    """Whether two processes in a row died that had the trial, maybe of another one beside it."""
    n_lost, *_ = trial.user_attrs.get(Attr.RETRIES, {}).get(FailureKind.LOST_WORKER, (0,))
    return int(n_lost) > 1


def state_of(trial: FrozenTrial) -> TrialState:
    """How a trial of the storage stands, in sweeper's words."""
    if trial.state == OptunaState.FAIL:
        return TrialState.FAILED
    if trial.state == OptunaState.PRUNED:
        return TrialState(trial.user_attrs.get(Attr.STATE, TrialState.PRUNED))
    return TrialState(trial.state.name.lower())


def seconds_of(trial: FrozenTrial) -> float | None:
    """In which processes had a trial that ended, all of them together; else None.

    Optuna's duration begins anew when it is resumed, and a killed process told nothing of its own.
    """
    if trial.duration is None:
        return None
    told = seconds_at_work(trial.user_attrs.get(Attr.SECONDS, {}))
    return max(trial.duration.total_seconds(), told)


def is_known(trial: FrozenTrial) -> bool:
    """Whether it is one of an earlier study, which samplers are shown beside those of this one.

    See :mod:`sweeper.study.warm_start`.
    """
    return trial.number < 0


def is_bad(trial: FrozenTrial) -> bool:
    """Whether it ended as badly as a trial can, by fault of its settings.

    So it is if it diverged, reported nothing finite, or failed by memory or time-out.
    """
    state = state_of(trial)
    if not trial.state.is_finished():
        return False
    if state == TrialState.FAILED:
        return trial.user_attrs.get(Attr.FAILURE) in _BLAMED
    values = [*(trial.values or []), *trial.intermediate_values.values()]
    return state == TrialState.DIVERGED or not values or not all(map(math.isfinite, values))


@dataclass(frozen=True)
class TrialRecord:
    """A trial of the storage in sweeper's words, for those who know no Optuna.

    Attributes:
        number: Within its study.
        state: How it stands.
        owner: Who claimed it last; None if nobody has.
        ended_s: When it ended, in seconds since the Unix epoch; None if it has not.
    """

    number: int
    state: TrialState
    owner: Owner | None
    ended_s: float | None

    @classmethod
    def of(cls, trial: FrozenTrial) -> "TrialRecord":
        """What the storage says of it."""
        ended = trial.datetime_complete
        owner = Owner.of(trial) if Attr.OWNER in trial.user_attrs else None
        return cls(trial.number, state_of(trial), owner, ended.timestamp() if ended else None)

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it changes any more."""
        return self.state not in (TrialState.WAITING, TrialState.RUNNING)


@store_errors()
def settle_data(attributes: StudyAttributes, loaded_as: str, data: DataInfo) -> None:
    """Keep what is learned, and hold data against those of the first trial on the same.

    Args:
        attributes: Of the study.
        loaded_as: What identifies the data: the settings that they were loaded with.
        data: What was loaded.

    Raises:
        DataError: If they differ, as trials on different data would not compare.
        StoreError: If the storage fails.
    """
    attributes.settle(Attr.TASK, Learned(data.task, data.naive))
    key = hashlib.sha256(loaded_as.encode()).hexdigest()[:16]
    _settle_fingerprint(attributes, key, data.fingerprint)
    if data.source:  # whatever a search makes of them
        _settle_fingerprint(attributes, "source", data.source)


def _settle_fingerprint(attributes: StudyAttributes, of: str, found: str) -> None:
    before = attributes.settle(f"{Attr.FINGERPRINT}.{of}", found)
    if before != found:
        raise DataError(
            f"the data have fingerprint {found}, but earlier trials of this study had "
            f"{before}; trials on different data would not compare: bring the same rows each "
            "time (a seed in a load function?), or begin another study with `--name NEW`"
        )
