"""How fast a study goes, and how long until its goal, from what its trials took so far."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

from optuna.trial import FrozenTrial

from sweeper.study.attributes import seconds_of
from sweeper.study.trial_cache import FINISHED, Standing

#: So many trials that ended last tell how long one takes: few enough to follow a change.
N_TELLING = 50


@dataclass(frozen=True)
class TrialLengths:
    """What is known of how long trials take.

    Attributes:
        ended: Those that ended last, on whatever machine.
        n_epochs: Of a trial that runs to its end; None if that is not known.
        epochs: Number of a running trial -> epochs done, parts included, where that is known
            better than the storage has it.
        now: Of the clock that the storage's times are of.
    """

    ended: Sequence[FrozenTrial]
    n_epochs: int | None
    epochs: Mapping[int, float]
    now: datetime

    def seconds_left(self, standing: Standing, *, goal: int, n_workers: int) -> float | None:
        """Seconds until the goal, of all workers together; None before a trial has ended.

        A running trial takes on as long an epoch as it did so far, up to where those that came
        further ended on average; without epochs it ends like those that took longer. Before the
        end of its first epoch, most of which may be its start, the shorter of both counts. A trial
        that is to come takes the mean of those that ended and of those that run. The sum of all
        that is shared by the workers.

        Args:
            standing: Of the study.
            goal: Finished trials to reach.
            n_workers: On whatever machine, >= 1.

        Source: own derivation.
        """
        lengths = [length for trial in self.ended if (length := seconds_of(trial)) is not None]
        n_counted = sum(trial.state in FINISHED for trial in self.ended)
        if not lengths or not n_counted:
            return None
        elapsed = {trial.number: self._elapsed(trial) for trial in standing.running}
        expected = {
            trial.number: self._expected(trial, elapsed[trial.number], lengths)
            for trial in standing.running
        }
        mean = (sum(lengths) + sum(expected.values())) / (n_counted + len(expected))
        rests = [expected[number] - elapsed[number] for number in expected]
        to_come = max(goal - standing.n_finished - len(expected), 0)
        return max((sum(rests) + mean * to_come) / n_workers, max(rests, default=0.0))

    def _elapsed(self, trial: FrozenTrial) -> float:
        begun = trial.datetime_start
        return max((self.now - begun).total_seconds(), 0.0) if begun else 0.0

    def _expected(self, trial: FrozenTrial, elapsed_s: float, lengths: Sequence[float]) -> float:
        """Seconds that a running trial takes in all, >= ``elapsed_s``."""
        longer = [length for length in lengths if length > elapsed_s]
        like_others = fmean(longer) if longer else 2 * elapsed_s
        share = self._share(trial)
        if not share:
            return like_others
        further = [end for ended in self.ended if (end := self._share(ended) or 0.0) > share]
        end = fmean(further) if further else 1.0
        at_its_pace = elapsed_s * max(end / share, 1.0)
        return at_its_pace if self._done(trial) >= 1 else min(at_its_pace, like_others)

    def _share(self, trial: FrozenTrial) -> float | None:
        """Of its epochs that a trial has done, in (0, 1]; None if that is not known."""
        done = self._done(trial)
        n_epochs = trial.params.get("train.epochs", self.n_epochs)
        return min(done / n_epochs, 1.0) if done and n_epochs else None

    def _done(self, trial: FrozenTrial) -> float:
        """Epochs, as far as it is known."""
        return self.epochs.get(trial.number, 0.0) or trial.last_step or 0


def trials_per_hour(finished: Iterable[FrozenTrial], begun: datetime) -> float | None:
    """Pace of the latest trials that finished since then; None before the second of them.

    Args:
        finished: Trials of the study.
        begun: By the clock that the storage's times are of.
    """
    ends = sorted(t.datetime_complete for t in finished if t.datetime_complete)
    ends = [end for end in ends if end >= begun][-N_TELLING:]
    seconds = (ends[-1] - ends[0]).total_seconds() if ends else 0.0
    return (len(ends) - 1) / seconds * 3600 if seconds > 0 else None
