"""How trials end: which failures are final, and what the storage is told of an end."""

from collections.abc import Iterable, Mapping, Sequence

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.durable import Step, durable
from sweeper.study.failures import RETRIES
from sweeper.study.study import Attr, Owner, SweepStudy
from sweeper.trial import EpochMetrics, FailureKind, Outcome, TrialState

_OPTUNA_STATE = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.DIVERGED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}


def best_epoch(study: SweepStudy, history: Iterable[EpochMetrics]) -> EpochMetrics | None:
    """The epoch that counts among those that are finite."""
    return study.spec.objective.best([metrics for metrics in history if metrics.is_finite])


def judge_failure(
    study: SweepStudy,
    trial: FrozenTrial,
    history: Sequence[EpochMetrics],
    *,
    kind: FailureKind,
    cause: str,
    details: str,
    seconds: Mapping[str, float],
) -> Outcome | None:
    """Count a failure of a trial and judge it by the rule of its kind.

    Args:
        study: The study.
        trial: As it was claimed.
        history: Epochs that it reported.
        kind: What kept it from its end.
        cause: That in one line.
        details: Of it, for people.
        seconds: As in :class:`~sweeper.trial.Outcome`.

    Returns:
        How the trial ends; None if it is to be tried again.
    """
    failures = count_failure(study, trial, kind, len(history))
    if failures <= RETRIES.get(kind, 0):
        return None
    return Outcome(
        TrialState.FAILED,
        best_epoch(study, history),
        cause if failures == 1 else f"{cause}, {failures} times",
        details,
        kind,
        failures - 1,
        seconds,
    )


def count_failure(study: SweepStudy, trial: FrozenTrial, kind: FailureKind, n_epochs: int) -> int:
    """Count a failure of a trial; how many of its kind there were, this one included.

    Lost workers count since the trial last got an epoch further, for then it is not the reason.
    A claim counts once, should the disk not take what comes next and all be done again.
    """
    trial_id = study.trial_id(trial.number)
    now = study.storage.get_trial(trial_id)
    counts, claim = dict(now.user_attrs.get(Attr.RETRIES, {})), Owner.of(now).claim
    before, at_epoch, at_claim = counts.get(kind, (0, 0, 0))
    if at_claim == claim:
        return int(before)
    is_further = kind == FailureKind.LOST_WORKER and at_epoch != n_epochs
    failures = 1 if is_further else int(before) + 1
    with durable(Step.ATTRIBUTE):
        counts[kind] = failures, n_epochs, claim
        study.storage.set_trial_user_attr(trial_id, Attr.RETRIES, counts)
    return failures


def end_trial(study: SweepStudy, number: int, outcome: Outcome) -> None:
    """Write the end of a trial, which its log has, to the storage; call it while settling it."""
    trial_id = study.trial_id(number)
    storage = study.storage
    values = None
    if outcome.best is not None and outcome.state in (TrialState.COMPLETE, TrialState.PRUNED):
        values = [outcome.best.values[metric] for metric in study.spec.objective.metrics]
    for leftover in study.paths.checkpoint_files(number):
        leftover.unlink(missing_ok=True)
    with durable(Step.END):
        if outcome.seconds:
            storage.set_trial_user_attr(trial_id, Attr.SECONDS, dict(outcome.seconds))
        if outcome.state != TrialState.COMPLETE:
            storage.set_trial_user_attr(trial_id, Attr.STATE, outcome.state)
            storage.set_trial_user_attr(trial_id, Attr.CAUSE, outcome.cause)
        if outcome.kind is not None:
            storage.set_trial_user_attr(trial_id, Attr.FAILURE, outcome.kind)
        storage.set_trial_state_values(trial_id, _OPTUNA_STATE[outcome.state], values)
    study.paths.trial_lock(number).unlink(missing_ok=True)  # no lock is needed beside the state
