"""Weights averaged over the updates of a trial."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of a model's parameters and of its floating-point buffers.

    The statistics of batch normalisation are averaged as the weights that they belong to are; what
    a model counts in whole numbers is not. No update waits for the device.

    Args:
        model: Its parameters stay the same tensors.
        decay: What of the average an update leaves, in (0, 1). Early it is less, min(decay,
            (1 + n) / (10 + n)) at the n-th update, else a short training would be measured at the
            weights that it began with.

    Source: the decay is that of ``tf.train.ExponentialMovingAverage`` with ``num_updates``; that
    buffers are averaged, of timm's ``ModelEmaV3``.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters = [parameter.detach() for parameter in model.parameters()]
        self._buffers = [
            (module, name)
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
            if buffer.is_floating_point() or buffer.is_complex()
        ]
        self._average = [tensor.clone() for tensor in self._live()]
        self._decay = decay

    def _live(self) -> list[Tensor]:
        # A module may put another tensor in the place of a buffer.
        return [*self._parameters, *(getattr(module, name) for module, name in self._buffers)]

    @torch.no_grad()
    def update(self, n_updates: int) -> None:
        """Take the model's tensors in, after so many updates, >= 1."""
        decay = min(self._decay, (1 + n_updates) / (10 + n_updates))
        torch._foreach_lerp_(self._average, self._live(), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model be the average within a ``with`` block."""
        kept = [tensor.clone() for tensor in self._live()]
        self._set(self._live(), self._average)
        try:
            yield
        finally:
            self._set(self._live(), kept)

    def state(self) -> list[Tensor]:
        """The averages themselves, not copies."""
        return self._average

    def restore(self, state: list[Tensor]) -> None:
        """Copy another :meth:`state` of the same model."""
        self._set(self._average, state)

    @torch.no_grad()
    def _set(self, tensors: list[Tensor], values: list[Tensor]) -> None:
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
