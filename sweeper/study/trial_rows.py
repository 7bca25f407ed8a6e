"""The trials of a study as rows of a table: for people, spreadsheets and scripts."""

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


def row_keys(spec: StudySpec) -> list[str]:
    """Keys that rows may have, in their order."""
    return ["number", "state", *spec.objective.metrics, *TOLD, *spec.ranges()]


def trial_row(study: SweepStudy, trial: FrozenTrial) -> dict[str, Any]:
    """The row of a trial; params of branches that were not drawn are left out."""
    metrics = study.spec.objective.metrics
    return {
        "number": trial.number,
        "state": state_of(trial).value,
        **dict(zip(metrics, trial.values or [None] * len(metrics), strict=True)),
        "epochs": trial.last_step or _n_epochs(study, trial.number),
        "seconds": seconds_of(trial),
        "cause": trial.user_attrs.get(Attr.CAUSE, ""),
        "drawn_by": trial.user_attrs.get(Attr.DRAWN_BY, ""),
        **searched_params(study.spec, trial),
    }


def best_rows(study: SweepStudy, n_trials: int) -> list[dict[str, Any]]:
    """So many, by the first metric: of complete trials, and of pruned ones."""
    ranked = sorted(
        (t for t in study.trials(FINISHED) if t.values and state_of(t) in _MEASURED),
        key=lambda trial: loss_of(trial, study.spec.objective),
    )
    return [trial_row(study, trial) for trial in ranked[:n_trials]]


def _n_epochs(study: SweepStudy, number: int) -> int:
    """Epochs in the event log; with several metrics the storage holds none."""
    events, _ = read_events(study.paths.events(number))
    return max((e.epoch for e in events if isinstance(e, EpochMetrics)), default=0)


def searched_params(spec: StudySpec, trial: FrozenTrial) -> dict[str, Scalar]:
    """What was drawn, in the order of the study file, which a storage need not keep."""
    return {name: trial.params[name] for name in spec.ranges() if name in trial.params}
