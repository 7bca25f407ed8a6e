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
        self._parameters = list(model.parameters())
        self._buffers = [
            (module, name)
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
            if buffer.is_floating_point() or buffer.is_complex()
        ]
        self._average = [tensor.detach().clone() for tensor in self._live()]
        self._decay = decay

    def _live(self) -> list[Tensor]:
        # A module may put another tensor in the place of a buffer.
        return [*self._parameters, *(getattr(module, name) for module, name in self._buffers)]

    @torch.no_grad()
    def update(self, n_updates: int) -> None:
        """Take the model's tensors in, after so many updates, >= 1."""
        torch._foreach_lerp_(self._average, self._live(), 1 - self.decay_at(n_updates))

    def decay_at(self, n_updates: int) -> float:
        """What of the average the update leaves after which there are so many, >= 1."""
        return min(self._decay, (1 + n_updates) / (10 + n_updates))

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Each tensor of the model and its average, the tensors themselves."""
        return list(zip(self._live(), self._average, strict=True))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model be the average within a ``with`` block."""
        kept = [tensor.detach().clone() for tensor in self._live()]
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
