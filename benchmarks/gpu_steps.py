"""Steps a second of trials that a worker's lanes train side by side, with no file and no storage.

    python benchmarks/gpu_steps.py cuda STEPS 64

STEPS is one of ``gpu_trials.py`` as JSON, and behind it stands ``run.pack``: the most trials that
are one program. On a GPU they are captured, as with ``run.lanes`` in a study file. It prints the
rates of the windows, and what a worker would tell.
"""

import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from gpu_trials import StepRate, Steps, data_for, study_text

import sweeper
from sweeper.config.settings import TrialConfig
from sweeper.config.space import suggest_config
from sweeper.config.study import StudySpec
from sweeper.data.scale import Normalisation
from sweeper.errors import TrialLost
from sweeper.study.reports import TurnReports
from sweeper.study.running_trial import RunningTrial
from sweeper.study.study import SweepStudy
from sweeper.timing import TimeLedger
from sweeper.training.learner import Runtime
from sweeper.training.loop import training
from sweeper.training.packed.capture import CudaCapture
from sweeper.training.packed.packs import Packs
from sweeper.trial import EpochMetrics, Objective, TrialState
from sweeper.workers.lane_count import LaneCount
from sweeper.workers.lane_plan import LanePlan
from sweeper.workers.lanes import Lane, Lanes

_NO_FILE = Path("/nowhere/checkpoint.pt")


class Counted:
    """Hears of a trial, and ends all of them when their steps are counted.

    Args:
        number: Of the trial.
        rate: Counts.
        n_batches: Of an epoch.
    """

    def __init__(self, number: int, rate: StepRate, n_batches: int) -> None:
        self.number = number
        self.ledger = TimeLedger()
        self.history: list[EpochMetrics] = []
        self.asking_s = self.n_done = 0.0
        self._rate = rate
        self._n_batches = n_batches

    def is_stopping(self) -> bool:
        """Nobody tells it to."""
        return False

    def require_ownership(self) -> None:
        """Nobody else has it."""

    def show_progress(self, epoch: int, share: float) -> None:
        """Count the steps done."""
        if self._rate.take(self.number, round(share * self._n_batches)):
            raise TrialLost("all is measured")  # which lanes leave to whoever drives them

    def announce(self, metrics: EpochMetrics) -> bool:
        """Refuse: no epoch is to end."""
        raise TrialLost("an epoch ended before its steps were counted")


class _Driven:
    """The lanes of one measurement."""

    def __init__(self, steps: Steps, pack: int, device: torch.device) -> None:
        self.rate = StepRate(steps, device)
        self.notes: list[str] = []
        self._n_batches = steps.n_batches
        self._study = study_of(steps)
        self._data = data_for(steps, device, Normalisation)
        self._runtime = Runtime(device)
        capture = partial(CudaCapture, device) if device.type == "cuda" else None
        self._packs = Packs(pack, self.notes.append, capture)
        self._lanes = Lanes(
            LaneCount(LanePlan(first=steps.n_trials, most=steps.n_trials)),
            TimeLedger(),
            packs=self._packs,
            reports=TurnReports(cast(SweepStudy, None)),  # there are none
            open_lanes=lambda places: [self._open(place) for place in places],
            end=self._end,
        )

    def run(self) -> None:
        """Train until all is measured, which raises TrialLost."""
        self._lanes.run(self._open(0))

    def _open(self, place: int) -> Lane:
        # In all that training and lanes know of it.
        trial = cast(RunningTrial, Counted(place, self.rate, self._n_batches))
        steps = training(
            config_of(self._study, place),
            self._data,
            objective=Objective(("val_accuracy",), ("maximize",)),
            runtime=self._runtime,
            reporter=trial,
            checkpoint=_NO_FILE,
            build=partial(self._packs.build, name=place),
        )
        return Lane(trial, steps, place=place, is_alone=False, held=ExitStack())

    def _end(self, lane: Lane, state: TrialState) -> None:
        raise ValueError(f"trial {lane.place} ended before its steps were counted")


def study_of(steps: Steps) -> StudySpec:
    """Of the trials that are measured."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "study.yaml")
        path.write_text(study_text("it", steps.model, n_trials=steps.n_trials, n_epochs=1))
        return sweeper.load(path).spec


def config_of(study: StudySpec, number: int) -> TrialConfig:
    """Of a trial that is enqueued, in a study that began with lanes."""
    setting = study.enqueue[number]
    config = suggest_config(study, lambda name, _: setting[name], seed=number)
    return replace(config, draws="batch")


def measure(steps: Steps, pack: int, device: torch.device) -> tuple[list[float], list[str]]:
    """Steps a second of all trials together in each window, and what was told meanwhile."""
    driven = _Driven(steps, pack, device)
    try:
        driven.run()
    except TrialLost:
        if len(driven.rate.rates) < steps.n_windows:
            raise
    return driven.rate.rates, driven.notes


def main(device: str, steps: str, pack: str) -> None:
    """Print the rates, and the notes."""
    values: dict[str, Any] = json.loads(steps)
    print(json.dumps(measure(Steps(**values), int(pack), torch.device(device))))


if __name__ == "__main__":
    main(*sys.argv[1:])
