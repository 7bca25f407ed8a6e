"""Dropout, in a fraction of the time of torch's on a CPU, and by keys of batches."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: On a CPU, from 16 random bits a unit.
_LEVELS, _UNITS_PER_DRAW = 2**16, 4
#: Of a key, bits a unit and call.
_KEYED_LEVELS = 2**24
_CALL_BITS = 40
#: Of SplitMix64, as signed integers.
_STEP, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15


class Key:
    """What all dropouts of one forward pass draw by, instead of torch's random generator.

    A unit is dropped or not by the key, its place among the units, and how many dropouts were
    called before: so the masks of several trials are computed at once, each as it is alone, and
    within a captured program.

    Args:
        value: int64 [] on the device, another one for each batch; [K, 1] for K trials at once.

    Source: the output function of SplitMix64, Steele et al. 2014, without its last step, which
    changes the low bits alone; shifts keep the sign.
    """

    def __init__(self, value: Tensor) -> None:
        self._value = value
        self._n_calls = 0

    def levels(self, shape: Sequence[int]) -> Tensor:
        """Numbers in [0, 2**24), int64 of a shape, of K trials [K, ...]; others in each call."""
        first = self._n_calls << _CALL_BITS
        self._n_calls += 1
        units = torch.arange(first, first + math.prod(shape), device=self._value.device)
        mixed = units.mul_(_STEP) + self._value
        mixed = (mixed ^ (mixed >> 30)) * _FIRST
        mixed = (mixed ^ (mixed >> 27)) * _SECOND
        return ((mixed >> 40) & (_KEYED_LEVELS - 1)).view(*self._value.shape[:-1], *shape)


class _Current:
    """The key that dropouts draw by; None if they draw from torch's generator."""

    key: Key | None = None


def draw_by(value: int, device: torch.device) -> None:
    """Have dropouts draw by a key from now on, as if none had been called.

    Args:
        value: In [-2**63, 2**63).
        device: Of what they are given.
    """
    # A tensor of its own, as another stream of a GPU may still read the one before.
    _Current.key = Key(torch.full((), value, dtype=torch.int64, device=device))


def draw_from_generator() -> None:
    """Have dropouts draw from torch's random generator from now on."""
    _Current.key = None


@contextmanager
def drawing_by(key: Key | None) -> Iterator[None]:
    """Have dropouts draw by another key within a ``with`` block; None for torch's generator."""
    before, _Current.key = _Current.key, key
    try:
        yield
    finally:
        _Current.key = before


class Dropout(nn.Dropout):
    """Zeroes units at random while training and scales the others up, so that the mean stays.

    On a CPU torch draws a number of its own for each unit; here one draw of 64 bits serves four,
    which takes a third of the time for the 1,568 units of the CNN's last layer and three quarters
    for the MLP's 256 (batch of 64, one thread, with backward). So the share dropped is ``p``
    rounded to a multiple of 2**-16, and the scale is that of the rounded share: the mean is exact.
    On another device this is torch's own. By a :class:`Key` it is a multiple of 2**-24.

    Args:
        p: Share of the units dropped, in [0, 1).

    Source: Srivastava et al. 2014 (Dropout), section 10 for the scaling; the bits are our own.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Mask ``inputs`` [...], floating; in evaluation they pass as they are."""
        if self.training and _Current.key is not None:
            n_dropped = self.n_keyed
            is_kept = _Current.key.levels(inputs.shape) >= n_dropped
            return inputs * (is_kept.to(inputs.dtype) * keyed_scale(n_dropped))
        if not self.training or inputs.device.type != "cpu":
            return super().forward(inputs)
        n_dropped = min(round(self.p * _LEVELS), _LEVELS - 1)
        n_draws = -(-inputs.numel() // _UNITS_PER_DRAW)
        draws = torch.empty(n_draws, dtype=torch.int64).random_(-(2**63), None)
        levels = draws.view(torch.int16)[: inputs.numel()].view(inputs.shape)
        mask = torch.empty_like(inputs)  # Comparing into it spares a pass over a mask of bools.
        torch.ge(levels, n_dropped - _LEVELS // 2, out=mask)
        return inputs * mask.mul_(_LEVELS / (_LEVELS - n_dropped))

    @property
    def n_keyed(self) -> int:
        """Levels of a key at which a unit is dropped, the lowest ones."""
        return min(round(self.p * _KEYED_LEVELS), _KEYED_LEVELS - 1)


def key_dropouts(model: nn.Module) -> None:
    """Have the plain dropouts of torch in a model draw as :class:`Dropout` does, by keys too."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = Dropout


def keyed_scale(n_dropped: int) -> float:
    """What the units that are left are multiplied by, of so many levels dropped."""
    return _KEYED_LEVELS / (_KEYED_LEVELS - n_dropped)
