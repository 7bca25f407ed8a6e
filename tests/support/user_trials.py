"""A user's trial that a recorder follows."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sweeper.paths import RunPaths
from sweeper.training.user_trial import UserTrial
from sweeper.trial import Objective
from tests.support.recorder import Recorder

ACCURACY = Objective(("val_accuracy",), ("maximize",))


def user_trial(
    folder: Path,
    reporter: Recorder,
    objective: Objective = ACCURACY,
    *,
    note: Callable[[str], None] = pytest.fail,
    device: str = "cpu",
) -> UserTrial:
    return UserTrial(
        number=4,
        seed=5,
        device=torch.device(device),
        paths=RunPaths(folder, "small"),
        objective=objective,
        reporter=reporter,
        note=note,
        clock=lambda: 12.5,
    )
