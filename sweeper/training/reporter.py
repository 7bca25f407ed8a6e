"""How a trial speaks: whoever follows it is a :class:`Reporter`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from sweeper.events import Logged
from sweeper.timing import TimeLedger
from sweeper.trial import EpochMetrics


class Reporter(Protocol):
    """Who follows a trial.

    Its signals pass through training untouched: the caller judges how a trial ended.
    """

    @property
    def ledger(self) -> TimeLedger:
        """Where the trial's time is booked."""
        ...

    @property
    def history(self) -> Sequence[EpochMetrics]:
        """What was reported, by earlier processes of the same trial too."""
        ...

    @property
    def n_epochs(self) -> int | None:
        """Epochs that the trial reports at most; None if nobody has said it."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """Of the run, as the trial's own code has set them, in earlier processes too."""
        ...

    def is_stopping(self) -> bool:
        """Whether the process must stop; asked after every batch, so it must be cheap."""
        ...

    def require_ownership(self) -> None:
        """Make sure that no other process has taken the trial over; raises TrialLost if so."""
        ...

    def show_progress(self, epoch: int, share: float) -> None:
        """Say how far an epoch is; called after every batch, so it must be cheap.

        Args:
            epoch: Under way, >= 1.
            share: Of its batches, of training and evaluation, that is done, in [0, 1].
        """
        ...

    def plan_epochs(self, n_epochs: int) -> None:
        """Take note of how many epochs the trial will report, before the first one.

        Raises:
            TrialInterrupted: If the process must stop now.
        """
        ...

    def log(self, event: Logged) -> None:
        """Record what user code logs; a file or a tag that is known as it is, is left.

        Raises:
            TrialInterrupted: If it cannot be recorded.
            TrialLost: If the trial was taken over.
        """
        ...

    def announce(self, metrics: EpochMetrics) -> bool:
        """Say that an epoch will be reported next.

        Returns:
            Whether it is recorded in the meantime, with those of other trials: it must be reported
            by the next step, which comes once that is done.
        """
        ...

    def report(self, metrics: EpochMetrics) -> None:
        """Record one epoch; an epoch that is known already is ignored.

        Raises:
            TrialPruned: If the pruner wants the trial to end.
            TrialDiverged: If a metric is not finite that must be.
            TrialInterrupted: If the process must stop now.
        """
        ...
