"""Steps a second of the trials of ``gpu_check.py``, by sweeper as it was at commit 2bacb41.

    PYTHONPATH=TREE:benchmarks python benchmarks/baselines/sweeper_2bacb41.py cuda '[STEPS, ...]'

TREE is the root of that commit; each STEPS is one of ``gpu_trials.py`` as JSON. That version
trains one trial at a time, so ``n_trials`` says how many it trains, one after the other. It prints
a list of the rates of each trial in each window, one line for each STEPS.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from gpu_trials import StepRate, Steps, data_for, study_text
from sweeper.learner import Runtime
from sweeper.ledger import Ledger
from sweeper.space import suggest_config

import sweeper
from sweeper.data.batches import Normalisation
from sweeper.training import train


class Measured(Exception):
    """All that was asked for."""


class Counted:
    """Hears of a trial, and ends it when its steps are counted."""

    def __init__(self, rate):
        self.ledger = Ledger()
        self.history = []
        self._rate = rate
        self._n_done = 0

    def is_stopping(self):
        self._n_done += 1
        if self._rate.take(0, self._n_done):
            raise Measured
        return False

    def require_hold(self):
        pass

    def report(self, metrics):
        raise ValueError("an epoch ended before its steps were counted")


def measure(config, steps, device):
    """The rates of one trial."""
    rate = StepRate(steps, device)
    try:
        train(
            config,
            data_for(steps, device, Normalisation),
            objective=sweeper.trial.Objective(("val_accuracy",), ("maximize",)),
            runtime=Runtime(device),
            reporter=Counted(rate),
            checkpoint=Path("/nowhere/checkpoint.pt"),
        )
    except Measured:
        return rate.rates
    raise ValueError("the trial ended before its steps were counted")


def configs_of(model, n_trials):
    """What so many trials are trained with."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "study.yaml")
        path.write_text(study_text("it", model, n_trials=n_trials, n_epochs=1))
        study = sweeper.load(path)
    return [
        suggest_config(study, lambda name, _, setting=setting: setting[name], seed=number)
        for number, setting in enumerate(study.enqueue)
    ]


def main(device, cases):
    """Print the rates."""
    for case in cases:
        configs = configs_of(case["model"], case["n_trials"])
        steps = Steps(**{**case, "n_trials": 1})
        print(json.dumps([measure(config, steps, device) for config in configs]), flush=True)


if __name__ == "__main__":
    main(torch.device(sys.argv[1]), json.loads(sys.argv[2]))
