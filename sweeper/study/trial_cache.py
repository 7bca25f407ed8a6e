"""What one process knows of a study's trials: those that ended are looked at once.

An ended trial never changes in the storage. So what follows from all of them is carried on from
look to look, and a claim or a poll costs little more after ten thousand trials than after ten.
"""

import threading
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from sweeper.config.ranges import Range, Setting, setting_key
from sweeper.config.settings import Scalar
from sweeper.study.attributes import FIXED_PARAMS

#: States of the trials that count towards the goal.
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Standing(NamedTuple):
    """How the trials of a study stand at one moment.

    Attributes:
        n_trials: Trials so far, numbered from 0.
        n_finished: Those that count towards the goal.
        waiting: By number.
        running: By number.
    """

    n_trials: int
    n_finished: int
    waiting: Sequence[FrozenTrial]
    running: Sequence[FrozenTrial]

    @property
    def n_claimed(self) -> int:
        """Trials that are finished or may be soon."""
        return self.n_finished + len(self.running)


class TrialCache:
    """The trials of one study. Its methods may be called from several threads.

    Args:
        storage: Of the study.
        study_id: In that storage.
        signs: Of the objective's metrics, see :attr:`~sweeper.trial.Objective.signs`.
        ranges: Of the study, by dotted name.
    """

    def __init__(
        self,
        storage: BaseStorage,
        study_id: int,
        signs: Sequence[int],
        ranges: Mapping[str, Range],
    ) -> None:
        self._storage = storage
        self._study_id = study_id
        self._ranges = ranges
        self._signs = signs
        self._lock = threading.Lock()
        self._n_trials = self._n_finished = 0
        self._open: list[FrozenTrial] = []
        self._ended: list[FrozenTrial] = []  # by the time of their end
        self._ranked: list[list[FrozenTrial]] = [[] for _ in self._signs]
        self._settings: set[Setting] = set()

    def look(self) -> Standing:
        """Read what is new in the storage."""
        with self._lock:
            self._read()
            return Standing(
                self._n_trials,
                self._n_finished,
                [trial for trial in self._open if trial.state == TrialState.WAITING],
                [trial for trial in self._open if trial.state == TrialState.RUNNING],
            )

    def latest(self, n: int) -> list[FrozenTrial]:
        """Up to ``n`` trials that have ended, as of the last look, the latest end first."""
        return self._ended[: -n - 1 : -1]

    def best(self) -> list[FrozenTrial]:
        """The best complete trial of each metric, as of the last look, each once."""
        with self._lock:
            best = {ranked[0].number: ranked[0] for ranked in self._ranked if ranked}
        return list(best.values())

    def is_tried(self, setting: Mapping[str, Scalar]) -> bool:
        """Whether a trial that did not fail has that setting, or will, as of the last look.

        Args:
            setting: Values by dotted name.
        """
        key = setting_key(self._ranges, setting)
        with self._lock:
            return key in self._settings or any(
                key == setting_key(self._ranges, begun_with(trial)) for trial in self._open
            )

    def all(self) -> list[FrozenTrial]:
        """All trials as they are now, by number."""
        with self._lock:
            return self._read()

    def excerpt(
        self, n_best: int, n_ended: int, teaches: Callable[[FrozenTrial], bool]
    ) -> list[FrozenTrial]:
        """By number: trials that have not ended, and of those that have the best and the latest.

        Args:
            n_best: Complete trials that are taken for their values, of each metric.
            n_ended: Ended trials in all; the latest make up the rest.
            teaches: Whether an ended trial may be among the latest.
        """
        with self._lock:
            trials = self._read()
            chosen = {trial.number for ranked in self._ranked for trial in ranked[:n_best]}
            latest = filter(teaches, reversed(self._ended))
            while len(chosen) < n_ended and (trial := next(latest, None)):
                chosen.add(trial.number)
            chosen |= {trial.number for trial in self._open}
        return [trials[number] for number in sorted(chosen)]

    def _read(self) -> list[FrozenTrial]:
        """All trials by number; what is new among them is taken in."""
        trials: list[FrozenTrial] = self._storage.get_all_trials(self._study_id, deepcopy=False)
        changeable = [trials[trial.number] for trial in self._open]
        changeable += trials[self._n_trials :]
        self._n_trials = len(trials)
        self._open = [trial for trial in changeable if not trial.state.is_finished()]
        for trial in changeable:
            if trial.state.is_finished():
                self._keep(trial)
        return trials

    def _keep(self, trial: FrozenTrial) -> None:
        insort(self._ended, trial, key=lambda ended: (ended.datetime_complete, ended.number))
        self._n_finished += trial.state in FINISHED
        if trial.state != TrialState.FAIL and trial.params:
            self._settings.add(setting_key(self._ranges, trial.params))
        if trial.state == TrialState.COMPLETE:
            for metric, sign in enumerate(self._signs):
                insort(self._ranked[metric], trial, key=partial(_loss, metric, sign))


def begun_with(trial: FrozenTrial) -> Mapping[str, Scalar]:
    """What is settled of a trial's setting: what it was enqueued with, and what was drawn."""
    return {**trial.system_attrs.get(FIXED_PARAMS, {}), **trial.params}


def _loss(metric: int, sign: int, trial: FrozenTrial) -> float:
    return sign * float(trial.values[metric])
