"""The trials of ``gpu_check.py``, and what counts their steps.

``baselines/sweeper_2bacb41.py`` imports this with an older ``sweeper``, so of that it uses only
what both have.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import yaml

from sweeper.data.batches import ResidentSplit
from sweeper.data.dataset import TrialData
from sweeper.trial import DataInfo

INPUT_SHAPE, N_CLASSES, N_ROWS, BATCH_SIZE = (1, 28, 28), 10, 54_000, 128
#: Rows that an epoch validates on; those steps are not counted.
_N_VALIDATION = BATCH_SIZE
#: Steps that a trial may be ahead of what it has told.
_SLACK = 256
#: Of unlike MLPs: each trial's is another, as long as there are no more than 64.
_WIDTHS = (66, 192)
MODELS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {"architecture": "mlp", "depth": 1, "width": 128},
    "unlike mlp": {
        "architecture": "mlp",
        "depth": 1,
        "width": {"low": _WIDTHS[0], "high": _WIDTHS[1]},
    },
    "cnn": {"architecture": "cnn", "depth": 2, "channels": 16},
}


def study_text(
    name: str, model: str, *, n_trials: int, n_epochs: int, run: Mapping[str, Any] | None = None
) -> str:
    """A study of fixed trials on MNIST, nothing of which is drawn.

    Args:
        name: Of the study.
        model: A key of ``MODELS``.
        n_trials: To train.
        n_epochs: Of each.
        run: The section ``run``.
    """
    plain = {
        "name": name,
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        "budget": {"trials": n_trials},
        "seed": 1,
        "sampler": {"name": "random"},
        "pruner": {"name": "none"},
        "data": {"name": "mnist", "validation": 0.1, "batch_size": BATCH_SIZE},
        "model": dict(MODELS[model]),
        "train": {
            "epochs": n_epochs,
            "optimizer": "sgd",
            "momentum": 0.9,
            "learning_rate": {"low": 1e-3, "high": 1.0, "log": True},
            "l1": {"low": 1e-9, "high": 1e-3, "log": True},
            "l2": {"low": 1e-9, "high": 1e-2, "log": True},
        },
        "enqueue": [_setting(model, number) for number in range(n_trials)],
        "run": dict(run or {}),
    }
    return yaml.safe_dump(plain, sort_keys=False)


def _setting(model: str, number: int) -> dict[str, float]:
    """What a trial is trained with."""
    setting = {
        "train.learning_rate": 0.02 * (1 + number % 4),
        "train.l1": 1e-6 * (1 + number % 5),
        "train.l2": 1e-5 * (1 + number % 3),
    }
    if model == "unlike mlp":
        setting["model.width"] = _WIDTHS[0] + 2 * number % (_WIDTHS[1] - _WIDTHS[0] + 1)
    return setting


@dataclass(frozen=True)
class Steps:
    """Trials in training, whose steps are counted.

    Attributes:
        model: A key of ``MODELS``.
        n_trials: Side by side.
        n_steps: Of each, in a window.
        window_s: That a window takes at most.
        n_windows: That are counted.
    """

    model: str
    n_trials: int
    n_steps: int
    window_s: float = 2.0
    n_windows: int = 3

    @property
    def n_batches(self) -> int:
        """Of an epoch, validation included: no trial comes to its end, however it runs ahead."""
        return 3 * (self.n_windows + 2) * self.n_steps + _SLACK + 1


def random_images(n_rows: int, device: torch.device, scale: Callable[..., Any]) -> ResidentSplit:
    """Images of MNIST's form, as many as a tenth for validation leaves of MNIST.

    Args:
        n_rows: Of the split; if it has more than there are images, they come again.
        device: On which they lie.
        scale: ``Normalisation``.
    """
    return ResidentSplit(
        torch.randint(256, (N_ROWS, *INPUT_SHAPE), dtype=torch.uint8).to(device),
        torch.randint(N_CLASSES, (N_ROWS,)).to(device),
        torch.arange(n_rows, device=device) % N_ROWS,
        scale((0.5,), (0.3,), input_shape=INPUT_SHAPE, device=device),
    )


def data_for(steps: Steps, device: torch.device, scale: Callable[..., Any]) -> TrialData:
    """An epoch of it is longer than what is measured, so that steps alone are.

    Args:
        steps: That are measured.
        device: On which the data lie.
        scale: ``Normalisation``, which is in another module of either version.
    """
    n_train = (steps.n_batches - 1) * BATCH_SIZE
    torch.manual_seed(0)
    info = DataInfo("random", "", INPUT_SHAPE, N_CLASSES, n_train, _N_VALIDATION)
    train, validation = (random_images(n, device, scale) for n in (n_train, _N_VALIDATION))
    return TrialData(info, train, validation)


class StepRate:
    """How many steps trials do in a second, all of them together, in windows of time.

    The first window begins when each trial has done as many steps as a window has, so what is
    compiled, captured or allocated at the first of them is behind it.

    Args:
        steps: What is measured.
        device: Whose work a window waits for at its begin and at its end.
        now: Seconds of a clock that never goes back.

    Attributes:
        rates: Of the windows that are over.
    """

    def __init__(
        self,
        steps: Steps,
        device: torch.device,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._steps = steps
        self._now = now
        is_cuda = device.type == "cuda"
        self._synchronize: Callable[[], object] = (
            partial(torch.cuda.synchronize, device) if is_cuda else int
        )
        self._done = [0] * steps.n_trials
        self._begun: tuple[float, int, int] | None = None
        self.rates: list[float] = []

    def take(self, trial: int, n_done: int) -> bool:
        """Note how many steps a trial has done; whether all is measured.

        A window ends with a step of trial 0, so as often as not with a whole round of them.
        """
        self._done[trial] = n_done
        if trial != 0:
            return False
        if self._begun is None:
            if min(self._done) >= self._steps.n_steps:
                self._begin()
            return False
        begun_s, n_before, n_own = self._begun
        is_short = n_done - n_own < self._steps.n_steps
        if is_short and self._now() - begun_s < self._steps.window_s:
            return False
        self._synchronize()
        seconds = self._now() - begun_s
        self.rates.append((sum(self._done) - n_before) / seconds)
        self._begin()
        return len(self.rates) == self._steps.n_windows

    def _begin(self) -> None:
        self._synchronize()
        self._begun = self._now(), sum(self._done), self._done[0]
