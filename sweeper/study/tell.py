"""What Optuna is told of a trial: how it ended, or that it waits again."""

from optuna.trial import TrialState as OptunaState

from sweeper.durable import Step, durable
from sweeper.study.attributes import OPTUNA_STATE, Attr
from sweeper.study.storage.together import together
from sweeper.study.study import SweepStudy
from sweeper.trial import Outcome, TrialState


def end_trial(study: SweepStudy, number: int, outcome: Outcome) -> None:
    """RUNNING -> ended, as the trial's log has it already.

    Call it while nobody else may, see :meth:`~sweeper.study.ownership.Ownership.settling`.
    """
    trial_id = study.trial_id(number)
    storage = study.storage
    values = None
    if outcome.best is not None and outcome.state in (TrialState.COMPLETE, TrialState.PRUNED):
        values = [outcome.best.values[metric] for metric in study.spec.objective.metrics]
    for leftover in study.paths.checkpoint_files(number):
        leftover.unlink(missing_ok=True)
    if outcome.state != TrialState.COMPLETE:  # of which no model is logged
        for model in study.paths.model_files(number):
            model.unlink(missing_ok=True)
    with durable(Step.END), together(storage):
        if outcome.seconds:
            storage.set_trial_user_attr(trial_id, Attr.SECONDS, dict(outcome.seconds))
        if outcome.state != TrialState.COMPLETE:
            storage.set_trial_user_attr(trial_id, Attr.STATE, outcome.state)
            storage.set_trial_user_attr(trial_id, Attr.CAUSE, outcome.cause)
        if outcome.kind is not None:
            storage.set_trial_user_attr(trial_id, Attr.FAILURE, outcome.kind)
        storage.set_trial_state_values(trial_id, OPTUNA_STATE[outcome.state], values)
    study.paths.trial_lock(number).unlink(missing_ok=True)  # no lock is needed beside the state


def put_back(study: SweepStudy, number: int) -> None:
    """RUNNING -> WAITING: another process goes on with the trial from its checkpoint.

    Call it as :func:`end_trial`.
    """
    trial_id = study.trial_id(number)
    attributes = study.storage.get_trial(trial_id).user_attrs
    with durable(Step.PUT_BACK), together(study.storage):
        resumed = attributes.get(Attr.RESUMED, 0) + 1
        study.storage.set_trial_user_attr(trial_id, Attr.RESUMED, resumed)
        study.storage.set_trial_state_values(trial_id, OptunaState.WAITING)
