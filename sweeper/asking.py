"""The price of asking a sampler, held to a tenth of training."""

from statistics import fmean, median

from sweeper.sampling import CHEAPER
from sweeper.study import SweepStudy

#: Trials measured before the price is judged.
_JUDGED_TRIALS = 5
#: Of training time.
_MOST_ASKING = 0.1


class AskingBudget:
    """What one worker's asking has cost; ``auto`` moves on to a cheaper sampler in time."""

    def __init__(self, study: SweepStudy) -> None:
        self._study = study
        self._sampler = study.sampler()[0]
        self._spent: list[tuple[float, float]] = []

    def spend(self, asking_s: float, training_s: float) -> None:
        """Count one trial.

        Args:
            asking_s: Seconds until its settings were drawn, >= 0.
            training_s: All its other seconds, >= 0.
        """
        name, _ = self._study.sampler()
        if name != self._sampler:  # another worker moved on
            self._sampler = name
            self._spent.clear()  # it was the old one's price
        self._spent.append((asking_s, training_s))
        if self._study.spec.sampler.name == "auto" and len(self._spent) >= _JUDGED_TRIALS:
            self._judge()
            self._spent.clear()

    def _judge(self) -> None:
        # The median, as the first call of a sampler imports what it needs.
        asking_s = median(asking for asking, _ in self._spent)
        training_s = fmean(training for _, training in self._spent)
        if asking_s > _MOST_ASKING * training_s and self._sampler in CHEAPER:
            why = (
                f"asking {self._sampler} took {asking_s * 1000:.0f} ms a trial beside "
                f"{training_s * 1000:.0f} ms of training, more than a tenth"
            )
            self._study.use_sampler(CHEAPER[self._sampler], why)
