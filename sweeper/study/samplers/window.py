"""What a sampler sees of a study, so that its price does not grow with the study for ever."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from optuna.trial import FrozenTrial, TrialState

from sweeper.study.attributes import is_bad
from sweeper.study.trial_cache import TrialCache

#: Ended trials seen by samplers whose asking takes longer with each; the others see all of them.
#: So many take 15 ms (tpe, cmaes) or 0.2 s (gp, to which 500 would be seconds); conditional_gp
#: chooses what it models among them.
_MOST_SEEN = {"conditional_gp": 1000, "gp": 200, "tpe": 1000, "cmaes": 1000}
#: Fewer make a sampler hardly cheaper, but worse: of 500 trials on a function of seven variables
#: the best was as good when tpe saw 250 as when it saw all, and less good with 100 (seven seeds).
_FEWEST_SEEN = {"conditional_gp": 160, "gp": 100, "tpe": 250, "cmaes": 250}
#: Learn from trials of an earlier study as well; nsga2 breeds, and cmaes moves a distribution,
#: from trials of their own alone.
TRANSFERRING = ("conditional_gp", "gp", "tpe")
#: Best trials among them. tpe holds the rest against 25 good ones at most (its ``gamma``); further
#: good ones in the rest would tell it that they are common.
_MOST_BEST = 25
#: How a trial ended that the sampler learns from; from one that ended badly each does. For
#: conditional_gp a failure is a setting that was tried.
_LEARNT_FROM = {
    "conditional_gp": (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL),
    "gp": (TrialState.COMPLETE,),
    "tpe": (TrialState.COMPLETE, TrialState.PRUNED),
    "cmaes": (TrialState.COMPLETE,),
}


class TrialWindow(NamedTuple):
    """The trials that a sampler sees: those that run, the best, and the latest for the rest.

    The latest, because tpe gives a trial the less weight the older it is, and cmaes goes on from
    its last generation.

    Attributes:
        sampler: Its name.
        n_ended: Ended trials at most; None for all.
        why: The price that made them fewer than the sampler begins with; empty if none did.
    """

    sampler: str
    n_ended: int | None
    why: str = ""

    @classmethod
    def at_first(cls, sampler: str) -> "TrialWindow":
        """Before anything is known of the sampler's price in a study."""
        return cls(sampler, _MOST_SEEN.get(sampler))

    def trials(self, cache: TrialCache, known: Sequence[FrozenTrial] = ()) -> list[FrozenTrial]:
        """What the sampler sees now, by number.

        Args:
            cache: The study's own trials.
            known: Those of an earlier study, the most telling first; they fill what is left, if
                the sampler learns from them.
        """
        if self.n_ended is None:
            return cache.all()
        own = cache.excerpt(self._n_best, self.n_ended, self._teaches)
        if self.sampler not in TRANSFERRING:
            return own
        n_left = self.n_ended - sum(trial.state.is_finished() for trial in own)
        return [*reversed(known[: max(n_left, 0)]), *own]

    def narrower(
        self, cache: TrialCache, known: Sequence[FrozenTrial], why: str
    ) -> "TrialWindow | None":
        """Half of what the sampler sees now; None when it is no dearer for what it sees."""
        if self.n_ended is None:
            return None
        n_now = sum(trial.state.is_finished() for trial in self.trials(cache, known))
        fewest = _FEWEST_SEEN[self.sampler]
        return TrialWindow(self.sampler, max(n_now // 2, fewest), why) if n_now > fewest else None

    def explain(self, n_trials: int) -> str:
        """What the sampler does not see of so many trials, and why; empty if it sees all."""
        if self.n_ended is None or n_trials <= self.n_ended:
            return ""
        price = self.why or "each trial more makes asking dearer"
        return (
            f"it sees the best {self._n_best} and the latest {self.n_ended - self._n_best} "
            f"trials: {price}"
        )

    def _teaches(self, trial: FrozenTrial) -> bool:
        return trial.state in _LEARNT_FROM[self.sampler] or is_bad(trial)

    @property
    def _n_best(self) -> int:
        assert self.n_ended is not None
        return min(math.ceil(self.n_ended / 10), _MOST_BEST)
