"""A reporter that remembers."""

from sweeper.errors import TrialPruned
from sweeper.events import Logged
from sweeper.timing import TimeLedger
from sweeper.trial import EpochMetrics


class Recorder:
    """Follows a trial.

    Args:
        stop_after: Raise ``signal`` after this epoch.
        signal: What to raise.
        n_batches: The process must stop after so many batches, of training and evaluation.
    """

    def __init__(
        self,
        stop_after: int | None = None,
        signal: type[BaseException] = TrialPruned,
        *,
        n_batches: int | None = None,
    ) -> None:
        self.ledger = TimeLedger()
        self.history: list[EpochMetrics] = []
        self.heard: list[int] = []
        self.n_epochs: int | None = None
        self.logged: list[Logged] = []
        self.tags: dict[str, str] = {}
        self.progress: list[tuple[int, float]] = []
        self.stop_after = stop_after
        self.n_batches = n_batches
        self._signal = signal

    def require_ownership(self) -> None:
        pass

    def is_stopping(self) -> bool:
        if self.n_batches is None:
            return False
        self.n_batches -= 1
        return self.n_batches <= 0

    def show_progress(self, epoch: int, share: float) -> None:
        self.progress.append((epoch, share))

    def plan_epochs(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs

    def log(self, event: Logged) -> None:
        self.logged.append(event)

    def announce(self, metrics: EpochMetrics) -> bool:
        return False

    def report(self, metrics: EpochMetrics) -> None:
        self.heard.append(metrics.epoch)
        if metrics.epoch > len(self.history):
            self.history.append(metrics)
            if metrics.epoch == self.stop_after:
                raise self._signal

    def values(self) -> list[dict[str, float]]:
        """What must not depend on when it was measured."""
        return [
            {name: value for name, value in metrics.values.items() if name != "epoch_seconds"}
            for metrics in self.history
        ]
