"""The trials of a study as rows of a table: for people, spreadsheets and scripts."""

from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from sweeper.config.settings import Scalar
from sweeper.config.study import StudySpec
from sweeper.events import read_events
from sweeper.study.attributes import Attr, seconds_of, state_of
from sweeper.study.best import loss_of
from sweeper.study.study import SweepStudy
from sweeper.study.trial_cache import FINISHED
from sweeper.trial import EpochMetrics, TrialState

#: What a row says of a trial beside number, state, metrics and params.
TOLD = ("epochs", "seconds", "cause", "drawn_by")
#: Ends of a trial whose value compares.
_MEASURED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class TrialRows:
    """The rows of one study, read from its storage when they are asked for.

    Params of branches that were not drawn are left out.
    """

    study: SweepStudy

    def columns(self) -> list[str]:
        """Keys that the rows may have, in their order."""
        spec = self.study.spec
        return ["number", "state", *spec.objective.metrics, *TOLD, *spec.ranges()]

    def all(self) -> list[dict[str, Any]]:
        """Of every trial, by number."""
        return [self._row(trial) for trial in self.study.trials()]

    def best(self, n_trials: int) -> list[dict[str, Any]]:
        """So many, by the first metric: of complete trials, and of pruned ones."""
        objective = self.study.spec.objective
        ranked = sorted(
            (t for t in self.study.trials(FINISHED) if t.values and state_of(t) in _MEASURED),
            key=lambda trial: loss_of(trial, objective),
        )
        return [self._row(trial) for trial in ranked[:n_trials]]

    def _row(self, trial: FrozenTrial) -> dict[str, Any]:
        metrics = self.study.spec.objective.metrics
        return {
            "number": trial.number,
            "state": state_of(trial).value,
            **dict(zip(metrics, trial.values or [None] * len(metrics), strict=True)),
            "epochs": trial.last_step or self._n_epochs(trial.number),
            "seconds": seconds_of(trial),
            "cause": trial.user_attrs.get(Attr.CAUSE, ""),
            "drawn_by": trial.user_attrs.get(Attr.DRAWN_BY, ""),
            **searched_params(self.study.spec, trial),
        }

    def _n_epochs(self, number: int) -> int:
        """Epochs in the event log; with several metrics the storage holds none."""
        events, _ = read_events(self.study.paths.events(number))
        return max((e.epoch for e in events if isinstance(e, EpochMetrics)), default=0)


def searched_params(spec: StudySpec, trial: FrozenTrial) -> dict[str, Scalar]:
    """What was drawn, in the order of the study file, which a storage need not keep."""
    return {name: trial.params[name] for name in spec.ranges() if name in trial.params}
