"""Which of a study's trials a command is about."""

from collections.abc import Sequence
from itertools import chain, zip_longest

from optuna.trial import FrozenTrial

from sweeper.errors import StudyError
from sweeper.study.attributes import state_of
from sweeper.study.best import loss_of
from sweeper.study.study import SweepStudy
from sweeper.text import format_counts
from sweeper.trial import Objective, TrialState

_ARCHITECTURE = "model.architecture"
#: Ends that the same training comes to again, as far as it got.
_COMPARABLE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.DIVERGED)


def choose_complete(study: SweepStudy, n_trials: int) -> list[int]:
    """Numbers of complete trials: the best of each architecture, then the second best of each.

    Args:
        study: The study.
        n_trials: How many, >= 1; fewer if no more are complete.

    Raises:
        StudyError: If none is complete.
    """
    complete = [t for t in study.trials() if state_of(t) == TrialState.COMPLETE]
    if not complete:
        stand = format_counts({state.value: n for state, n in study.counts().items()})
        raise StudyError(
            f"study {study.spec.name!r} has no complete trial ({stand or 'no trial'}); name one "
            f"that was pruned with --trial NUMBER, or go on: {study.spec.command('run')}"
        )
    return _spread(complete, study.spec.objective)[:n_trials]


def _spread(complete: Sequence[FrozenTrial], objective: Objective) -> list[int]:
    groups: dict[object, list[int]] = {}
    for trial in sorted(complete, key=lambda trial: loss_of(trial, objective)):
        groups.setdefault(trial.params.get(_ARCHITECTURE), []).append(trial.number)
    by_turns = chain.from_iterable(zip_longest(*groups.values()))
    return [number for number in by_turns if number is not None]


def require_comparable(study: SweepStudy, number: int) -> None:
    """See that a trial has come to an end that can be compared.

    Raises:
        StudyError: If there is none of that number, or it has not.
    """
    states = {trial.number: state_of(trial) for trial in study.trials()}
    if number not in states:
        top = study.spec.command("status", "--top", "10")
        raise StudyError(
            f"study {study.spec.name!r} has no trial {number}; its {len(states)} trials are "
            f"counted from 0: {top}"
        )
    if (state := states[number]) not in _COMPARABLE:
        raise StudyError(
            f"trial {number} is {state}; what can be compared is a trial that is "
            f"{', '.join(_COMPARABLE[:-1])} or {_COMPARABLE[-1]}"
        )
