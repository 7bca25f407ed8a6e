"""Reporters of trials whose process dies, or is told to stop."""

from sweeper.errors import TrialInterrupted
from sweeper.trial import EpochMetrics
from tests.support.recorder import Recorder


class Death(BaseException):
    """Of the process."""


class Dying(Recorder):
    """Its process dies as it is told of an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def report(self, metrics: EpochMetrics) -> None:
        if metrics.epoch == self.epoch:
            raise Death
        super().report(metrics)


class Stopping(Recorder):
    """Its process must stop once :attr:`is_told`."""

    def __init__(self) -> None:
        super().__init__()
        self.is_told = False

    def is_stopping(self) -> bool:
        return self.is_told

    def report(self, metrics: EpochMetrics) -> None:
        super().report(metrics)
        if self.is_told:
            raise TrialInterrupted(f"stopped after epoch {metrics.epoch}")
