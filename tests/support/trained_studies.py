"""Small studies whose trials are really trained, by a worker in this process."""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sweeper.commands.prepare import import_user_code
from sweeper.study.study import SweepStudy
from sweeper.workers.signals import StopRequest
from sweeper.workers.worker import Worker
from tests.support.function_studies import begin_function, worker_args
from tests.support.sweep_studies import AGENT, begin

TAGS = {"version.torch": version("torch"), "git_commit": "c0ffee"}


def train_all(study: SweepStudy, **changes: Any) -> SweepStudy:
    """Work on a study until its goal, on one core; ``changes`` are of what the worker is told."""
    study.leases.renew(AGENT)
    args = worker_args(study, **{"tags": TAGS, **changes})
    Worker(
        args,
        study,
        StopRequest(),
        tell=logging.getLogger(__name__).info,
        tell_epochs=lambda number, epochs: None,
        tell_over=lambda number: None,
    ).work()
    return study


def trained(folder: Path, **changes: Any) -> SweepStudy:
    """A study of built-in training at its goal; ``changes`` replace keys of its file."""
    plain = {
        "budget": {"trials": 4},
        "model": {
            "architecture": {"choices": {"mlp": {"width": 8}, "cnn": {"channels": 2, "depth": 1}}}
        },
        "train": {"epochs": 2, "learning_rate": {"choices": [0.02, 0.05]}},
    }
    return train_all(begin(folder, **{**plain, **changes}))


def trained_function(folder: Path, body: str, **changes: Any) -> SweepStudy:
    """As :func:`trained`, of a training function; see :func:`begin_function`."""
    study = begin_function(folder, body, **changes)
    import_user_code(study.spec)
    return train_all(study)
