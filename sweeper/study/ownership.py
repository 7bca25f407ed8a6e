"""Whose a trial is, from its claim until it is settled: who may write to it, and who may not."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from sweeper.errors import TrialLost
from sweeper.study.attributes import Owner
from sweeper.study.presence import is_present
from sweeper.study.study import SweepStudy


@dataclass(frozen=True)
class Ownership:
    """The right to write to a trial, which its owner has until another process takes it over.

    Attributes:
        study: The study.
        number: Of the trial.
        owner: Who claimed it.
    """

    study: SweepStudy
    number: int
    owner: Owner

    @classmethod
    def of(cls, study: SweepStudy, trial: FrozenTrial) -> "Ownership":
        """Of whoever claimed the trial last."""
        return cls(study, trial.number, Owner.of(trial))

    def require(self, now: FrozenTrial | None = None) -> FrozenTrial:
        """The trial as the storage has it now.

        Args:
            now: That, if it was read this moment.

        Raises:
            TrialLost: If it is another's by now, or settled.
        """
        now = now or self.study.storage.get_trial(self.study.trial_id(self.number))
        if now.state != TrialState.RUNNING or Owner.of(now) != self.owner:
            raise TrialLost(f"trial {self.number} was taken over and is {now.state.name} now")
        return now

    def look(self) -> FrozenTrial | None:
        """As :meth:`require`, but None in place of the error."""
        with suppress(TrialLost):
            return self.require()
        return None

    @contextmanager
    def settling(self) -> Iterator[None]:
        """Nobody else ends the trial or puts it back inside, so what is written is the last word.

        On PostgreSQL a process that stands still in there for a minute, or 40 s behind a proxy,
        loses that right.

        Raises:
            TrialLost: As :meth:`require`.
        """
        with self.study.lock_of(self.study.paths.trial_lock(self.number)).held():
            self.require()
            yield

    @contextmanager
    def taken_over(self) -> Iterator[FrozenTrial | None]:
        """As :meth:`settling`, for an owner that is gone; None if the trial is its own no more.

        The lock of a process that died here is free. One elsewhere may just be stopped while it
        holds its own, so nobody waits for that: it settles the trial, or leaves it for later.
        """
        lock = self.study.lock_of(self.study.paths.trial_lock(self.number))
        with ExitStack() as held:
            if self.study.leases.is_here(self.owner.agent):
                held.enter_context(lock.held())
            elif not held.enter_context(lock.tried()):
                yield None
                return
            yield self.look()

    def is_orphaned(self) -> bool:
        """Whether the owner is gone; :meth:`look` tells whether it settled the trial before.

        Of an agent elsewhere, which is known by its lease alone, it takes calls during
        :data:`~sweeper.study.leases.LEASE_S` to tell.
        """
        leases = self.study.leases
        if leases.is_here(self.owner.agent):
            return not is_present(self.study.paths.presence_dir, self.owner.worker)
        return leases.is_over(self.owner.agent)


def running_now(study: SweepStudy, n: int) -> Mapping[int, FrozenTrial]:
    """The running trials by number, read at once where several of them are asked about.

    Args:
        study: Theirs.
        n: How many of them are asked about. One alone is read sooner by itself.
    """
    return {trial.number: trial for trial in study.cache.look().running} if n > 1 else {}


def require_all(study: SweepStudy, trials: Sequence[FrozenTrial]) -> None:
    """Make sure that nobody has taken over one of these trials since they were claimed.

    Args:
        study: Theirs.
        trials: As they were claimed.

    Raises:
        TrialLost: If one of them is another's by now, or settled.
    """
    running = running_now(study, len(trials))
    for trial in trials:
        Ownership.of(study, trial).require(running.get(trial.number))
