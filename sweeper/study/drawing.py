"""What claimed trials run with: drawn and written, for several of them in one visit."""

import time
from collections.abc import Sequence
from contextlib import nullcontext

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from sweeper.durable import Step, durable
from sweeper.study.attributes import Attr
from sweeper.study.ownership import require_all
from sweeper.study.samplers.draw import Drawn
from sweeper.study.samplers.optuna import to_distribution
from sweeper.study.storage.backend import store_errors
from sweeper.study.storage.together import together
from sweeper.study.study import SweepStudy


@store_errors()
def draw_trials(study: SweepStudy, trials: Sequence[FrozenTrial]) -> tuple[list[Drawn], float]:
    """Draw what trials run with, and write it to the storage.

    In a small space nobody else draws meanwhile, so that each trial sees what the others have.

    Args:
        study: The study.
        trials: As they were claimed, by this process.

    Returns:
        For each what was drawn, and how many seconds the sampler took for it, without what was
        waited for others.

    Raises:
        StudyError: If one of them cannot be drawn; nothing is written then.
        StoreError: If the storage fails.
        TrialLost: If one of them was taken over.
    """
    with study.lock.held() if study.is_small else nullcontext():
        begun_s = time.monotonic()
        drawn = study.draw(trials)
        asking_s = time.monotonic() - begun_s
        require_all(study, trials)
        try:
            _write(study, trials, drawn)
        except UpdateFinishedTrialError:  # one was taken over, and ended, a moment ago
            require_all(study, trials)
            raise
    return drawn, asking_s / len(trials)


def _write(study: SweepStudy, trials: Sequence[FrozenTrial], drawn: Sequence[Drawn]) -> None:
    """What drew a trial comes first, so that whoever goes on with it finds it."""
    ranges = study.spec.ranges()
    with durable(Step.DRAW), together(study.storage):
        for trial, each in zip(trials, drawn, strict=True):
            trial_id = study.trial_id(trial.number)
            if each.drawn_by != trial.user_attrs.get(Attr.DRAWN_BY, ""):
                study.storage.set_trial_user_attr(trial_id, Attr.DRAWN_BY, each.drawn_by)
            for name, value in each.searched.items():
                if name not in trial.params:
                    distribution = to_distribution(ranges[name])
                    internal = distribution.to_internal_repr(value)
                    study.storage.set_trial_param(trial_id, name, internal, distribution)
