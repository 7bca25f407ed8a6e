"""An optimiser of ``torch.optim``'s kind that a user's own function builds."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sweeper.config.references import load_reference
from sweeper.errors import TrainingError
from sweeper.models.build import restored
from sweeper.training.optim import Group

log = logging.getLogger("sweeper")


class OwnOptimizer:
    """Makes the updates of a ``torch.optim.Optimizer`` at the learning rate of a schedule.

    Args:
        reference: Of ``function(groups, lr=rate)``, such as a class of ``torch.optim``. Each group
            has its ``weight_decay`` and ``lr``.
        groups: Parameters to train.
        learning_rate: Peak of the schedule, > 0. A group to which the function gives another rate
            keeps the ratio between the two.

    Raises:
        SpecError: If the function cannot be imported.
        TrainingError: If it raises, or returns no optimiser of all these parameters.
    """

    def __init__(self, reference: str, groups: Sequence[Group], *, learning_rate: float) -> None:
        self._place = f"train.optimizer: {reference}"
        self._optimizer = self._build(reference, groups, learning_rate)
        self._check_parameters(groups)
        self._check_decay(max(group.decay for group in groups))
        self._factors = [float(g["lr"]) / learning_rate for g in self._optimizer.param_groups]
        self._is_new = True

    def _build(self, reference: str, groups: Sequence[Group], rate: float) -> Any:
        function = load_reference(reference)
        given = [
            {
                "params": list(group.parameters),
                "weight_decay": group.decay,
                "lr": rate * group.rate,
            }
            for group in groups
            if group.parameters
        ]
        try:
            optimizer = function(given, lr=rate)
        except Exception as exc:
            raise TrainingError(f"{self._place} raised {type(exc).__name__}: {exc}") from exc
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TrainingError(
                f"{self._place} must return a torch.optim.Optimizer, got "
                f"{type(optimizer).__name__}"
            )
        if not all("lr" in group for group in optimizer.param_groups):
            raise TrainingError(
                f"{self._place}: {type(optimizer).__name__} has groups without lr, which "
                "train.schedule sets before each update"
            )
        return optimizer

    def _check_parameters(self, groups: Sequence[Group]) -> None:
        taken = {id(p) for group in self._optimizer.param_groups for p in group["params"]}
        wanted = [id(parameter) for group in groups for parameter in group.parameters]
        if left := sum(parameter not in taken for parameter in wanted):
            raise TrainingError(
                f"{self._place} leaves out {left} of {len(wanted)} tensors of parameters; give "
                "the optimiser all, or let the model say requires_grad_(False)"
            )

    def _check_decay(self, l2: float) -> None:
        name, own = type(self._optimizer).__name__, self._optimizer.defaults.get("weight_decay")
        if l2 and own is None:
            raise TrainingError(
                f"train.l2: {name}, which {self._place.partition(': ')[2]} returns, has no "
                "weight_decay; leave l2 out"
            )
        if own not in (None, 0, l2):
            log.warning(
                "%s: weight_decay is %g as train.l2 says, not %g as %s has it",
                self._place,
                l2,
                own,
                name,
            )

    def step(self, learning_rate: float) -> None:
        """Update every parameter that has a gradient.

        Raises:
            TrainingError: If it raises, but for memory, or its state cannot be kept.
        """
        for group, factor in zip(self._optimizer.param_groups, self._factors, strict=True):
            rate = learning_rate * factor
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        try:
            self._optimizer.step()
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as exc:
            raise TrainingError(
                f"{self._place}: step() raised {type(exc).__name__}: {exc}"
            ) from exc
        if self._is_new:
            self._check_state()
            self._is_new = False

    def _check_state(self) -> None:
        """See that what the state holds beside tensors can be kept and comes back."""
        state = self._optimizer.state_dict()
        kept = [
            {key: value for key, value in entry.items() if type(value) is not Tensor}
            for entry in (*state["state"].values(), *state["param_groups"])
        ]
        try:
            restored(kept)
        except Exception as exc:
            reason = str(exc).partition("\n")[0]
            raise TrainingError(
                f"{self._place}: its state_dict holds what a checkpoint cannot bring back "
                f"({type(exc).__name__}: {reason}); keep tensors, numbers and strings there"
            ) from exc

    def zero_grad(self) -> None:
        """Drop all gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """The state tensors themselves, not copies."""
        state: dict[str, Any] = self._optimizer.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from another :meth:`state_dict`, bit for bit.

        torch gives a state the dtype of its parameter; here it keeps the one that it had.
        """
        self._optimizer.load_state_dict(state_dict)
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        for number, saved in state_dict["state"].items():
            state = self._optimizer.state[parameters[number]]
            state.update(_in_own_dtype(saved, state))
        self._is_new = False


def _in_own_dtype(saved: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The saved tensors whose dtype was changed, on the device that they are on now."""
    return {
        key: value.to(state[key].device, copy=True)
        for key, value in saved.items()
        if isinstance(value, Tensor) and value.dtype != state[key].dtype
    }
