"""What the validations of a trainer measured, told to its trial as epochs."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from sweeper.errors import TrainingError
from sweeper.training.user_trial import UserTrial


class Reports:
    """Tells the validations of one trainer, each once, by their numbers from 1.

    Args:
        trial: Is told.
        callback: Whose reports these are, for messages.
        naming: How the user's code gives a metric its name, for messages.
    """

    def __init__(self, trial: UserTrial, *, callback: str, naming: str) -> None:
        self._trial = trial
        self._callback = callback
        self._naming = naming
        self._n_told = 0

    def plan(self, n_validations: int | None) -> None:
        """Say how many there will be, before the first; None if nobody knows."""
        if n_validations and not self._n_told:
            self._trial.plan_epochs(n_validations)

    def tell(self, validations: Sequence[Mapping[str, float]]) -> None:
        """Tell those that have not been told; the trial ignores what it knows from before.

        Raises:
            TrainingError: If a metric of the objective is missing.
            TrialPruned, TrialDiverged, TrialInterrupted: To end the trial now.
        """
        for number in range(self._n_told + 1, len(validations) + 1):
            metrics = validations[number - 1]
            self._require_objective(number, metrics)
            self._n_told = number
            self._trial.report(number, **metrics)

    def _require_objective(self, number: int, metrics: Mapping[str, float]) -> None:
        missing = [name for name in self._trial.objective.metrics if name not in metrics]
        if missing:
            raise TrainingError(
                f"{self._callback}: validation {number} measured {', '.join(sorted(metrics))}, "
                f"but not the objective's {', '.join(missing)}; name one of these as "
                f"objective.metric, or {self._naming}"
            )


def numbers_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Those that are one number each, without how far training is, which others count."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if name not in ("epoch", "step") and _is_number(value)
    }


def _is_number(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex()
    return isinstance(value, Real) and not isinstance(value, bool)


def require_device(trial: UserTrial, found: torch.device, *, callback: str, way_out: str) -> None:
    """Make sure that a trainer computes where the trial has its place.

    Raises:
        TrainingError: If it does so elsewhere, beside the trials of other workers.
    """
    places = [(device.type, device.index or 0) for device in (found, trial.device)]
    if places[0] != places[1]:
        raise TrainingError(
            f"{callback}: the Trainer computes on {found}, the trial's device is {trial.device}; "
            f"{way_out}"
        )
