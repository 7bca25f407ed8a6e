"""The hold that a process has on a trial, from its claim until the trial is settled."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from sweeper.errors import TrialLost
from sweeper.study.presence import is_present
from sweeper.study.study import Owner, SweepStudy


@dataclass(frozen=True)
class Ownership:
    """One owner's hold on a trial, which it has lost once another process took the trial over.

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

    def require(self) -> FrozenTrial:
        """The trial as the storage has it now.

        Raises:
            TrialLost: If the hold is lost, or the trial settled.
        """
        now = self.study.storage.get_trial(self.study.trial_id(self.number))
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
        """As :meth:`settling`, for an owner that is gone; None if the hold is no more.

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


def find_orphans(study: SweepStudy) -> list[Ownership]:
    """Holds on RUNNING trials whose owners are gone."""
    # First all of them: a storage may change a trial in place that it handed out.
    holds = [Ownership.of(study, trial) for trial in study.history.look().running]
    return [hold for hold in holds if hold.is_orphaned()]
