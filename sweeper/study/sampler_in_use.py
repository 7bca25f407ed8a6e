"""The price of asking a sampler, held to a tenth of training."""

import logging
from statistics import fmean, median

from sweeper.study.samplers.optuna import CHEAPER
from sweeper.study.storage.backend import store_errors
from sweeper.study.study import SweepStudy

log = logging.getLogger("sweeper")

#: Trials measured before the price is judged.
_JUDGED_TRIALS = 5
#: Of training time.
_MOST_ASKING = 0.1


class AskingBudget:
    """What one worker's asking has cost.

    A sampler that is too dear sees fewer trials from then on, one named in the study file as
    well. Where that does not help, ``auto`` moves on to a cheaper one.
    """

    def __init__(self, study: SweepStudy) -> None:
        self._study = study
        self._sight = study.sight()
        self._spent: list[tuple[float, float]] = []

    @store_errors()
    def spend(self, asking_s: float, training_s: float) -> None:
        """Count one trial.

        Args:
            asking_s: Seconds until its settings were drawn, >= 0.
            training_s: All its other seconds, >= 0.

        Raises:
            StoreError: If the storage fails.
        """
        sight = self._study.sight()
        if sight != self._sight:  # another worker has judged
            self._sight = sight
            self._spent.clear()  # it was the old one's price
        self._spent.append((asking_s, training_s))
        if len(self._spent) >= _JUDGED_TRIALS:
            self._judge()
            self._spent.clear()

    def _judge(self) -> None:
        # The median, as the first call of a sampler imports what it needs.
        asking_s = median(asking for asking, _ in self._spent)
        training_s = fmean(training for _, training in self._spent)
        if asking_s <= _MOST_ASKING * training_s:
            return
        name = self._sight.sampler
        why = (
            f"asking {name} took {asking_s * 1000:.0f} ms a trial beside "
            f"{training_s * 1000:.0f} ms of training, more than a tenth"
        )
        if narrower := self._sight.narrower(self._study.history, why):
            self._study.use_sight(narrower)
        elif self._study.spec.sampler.name == "auto" and name in CHEAPER:
            self._study.use_sampler(CHEAPER[name], why)
        else:
            return
        log.warning("sampler %s: %s", *self._study.sampler())
