"""Records of a program -> reports of its trial."""

from collections.abc import Iterable

from sweeper.config.names import metric_name_fault
from sweeper.errors import TrainingError
from sweeper.training.program_records import Record
from sweeper.training.user_trial import UserTrial


class ProgramReports:
    """Reports an epoch once a program has told all metrics of the objective of it.

    A program may tell them in several lines. One that is started again may begin again: what is
    known already is not reported anew.

    Args:
        trial: That the program trains; its user is told of what is done otherwise than expected.
        goes_on: Whether the program is given the folder from which it could go on.
    """

    def __init__(self, trial: UserTrial, *, goes_on: bool) -> None:
        self._trial = trial
        self._metrics = trial.objective.metrics
        self._goes_on = goes_on
        self._n_known = len(trial.history)
        self._from_0 = trial.paths.counts_from_0(trial.number)
        self._shift = 1 if self._from_0.exists() else 0
        self._known = 0  # epochs of which nothing is reported any more
        self._latest = 0  # that this process of the program has told
        self._latest_values: dict[str, float] = {}
        self._open: int | None = None
        self._values: dict[str, float] = {}
        self._said: set[str] = set()

    def catch_up(self, records: Iterable[Record]) -> None:
        """Report what an earlier process of the program told, and nobody came to report."""
        known = self._trial.history[-1].epoch if self._trial.history else 0
        for record in records:
            if record.epoch is not None and self._epoch(record) > known:
                self.add(record)
        self._known, self._latest, self._open = max(known, self._latest), 0, None

    def add(self, record: Record) -> None:
        """Take in a record.

        Raises:
            TrainingError: If its epoch comes again, or after a later one.
            TrialPruned, TrialDiverged, TrialInterrupted: As ``trial.report`` does.
        """
        values = self._reportable(record)
        epoch = self._epoch(record)
        if epoch <= self._latest:
            self._check_repeated(epoch, values)
            return
        if epoch != self._open:
            if self._open is not None and self._open > self._latest:
                self._say("unreported", f"{self.missing()}; it is not reported")
            self._open, self._values = epoch, {}
        self._values |= values
        if all(name in self._values for name in self._metrics):
            self._report(epoch)

    def missing(self) -> str:
        """What was told of the latest epoch, but is no report; nothing if nothing was told."""
        if self._open is None:
            return ""
        absent = ", ".join(name for name in self._metrics if name not in self._values)
        came = ", ".join(self._values) or "no metric"
        return f"of epoch {self._open} it told {came}, and not the objective's {absent}"

    def _epoch(self, record: Record) -> int:
        if record.epoch is None:
            return self._latest + 1
        if record.epoch == 0 and not self._shift and not self._latest:
            self._shift = 1
            self._from_0.touch()
            self._say("zero", "its epochs count from 0, so each is reported as one more")
        return record.epoch + self._shift

    def _check_repeated(self, epoch: int, values: dict[str, float]) -> None:
        """Several processes may tell the same, and another metric may come late."""
        is_report = any(name in values for name in self._metrics)
        if is_report and not values.items() <= self._latest_values.items():
            raise TrainingError(
                f"train.command: its epochs must increase, got {epoch} after {self._latest}; let "
                "it tell each epoch once, and one process alone if there are several"
            )
        if values and not is_report:
            self._say("late", f"what it tells of an epoch after {self._metrics[0]} is left out")

    def _report(self, epoch: int) -> None:
        if not self._latest and self._n_known and epoch == 1:
            way_out = (
                "although the command uses ${trial.checkpoint}; words that let it go on belong "
                "into train.resume"
                if self._goes_on
                else "as the command does not use ${trial.checkpoint}"
            )
            self._say(
                "again",
                f"a trial that was stopped begins again at epoch 1, {way_out}; epochs that are "
                "known stay as they are",
            )
        self._latest, self._latest_values = epoch, self._values
        if epoch > self._known:
            self._trial.report(epoch, **self._values)

    def _reportable(self, record: Record) -> dict[str, float]:
        """The values that a run can hold."""
        faults = {name: metric_name_fault(name, self._metrics) for name in record.values}
        for name, fault in [*faults.items(), *((name, "is no number") for name in record.others)]:
            if fault:
                self._say(name, f"what it tells of {name!r} is left out: {fault}")
        return {name: value for name, value in record.values.items() if not faults[name]}

    def _say(self, what: str, text: str) -> None:
        """Let the user know, once."""
        if what not in self._said:
            self._said.add(what)
            self._trial.note(f"train.command: {text}")
