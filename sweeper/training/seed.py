"""The state of every global random generator that training draws from."""

import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from sweeper.models.dropout import draw_by, draw_from_generator

_MASK = 2**64 - 1


def low_seed(seed: int) -> int:
    """The low 32 bits of a seed: NumPy, scikit-learn and Lightning take no more.

    Args:
        seed: >= 0.

    Returns:
        An integer in [0, 2**32).
    """
    return seed % 2**32


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (every device), for all that draws.

    Args:
        seed: In [0, 2**63); NumPy's old generator takes :func:`low_seed` of it.
    """
    draw_from_generator()
    random.seed(seed)
    np.random.seed(low_seed(seed))
    torch.manual_seed(seed)


class BatchSeeds:
    """Seeds the random generators anew for each batch of a trial.

    What a batch draws follows then from the trial's seed and the batch's number alone, whatever
    is trained beside it, in the same process.

    Args:
        seed: Of the trial, in [0, 2**63).
        device: On which augmentation and dropout draw.
        has_own_code: Whether code runs that may draw from Python's or NumPy's generators, too.
        has_keys: Whether dropouts draw by a :class:`~sweeper.models.dropout.Key`, as they do on a
            GPU; None for whether this is one.
    """

    def __init__(
        self,
        seed: int,
        device: torch.device,
        *,
        has_own_code: bool,
        has_keys: bool | None = None,
    ) -> None:
        self._device = device
        self._has_keys = device.type == "cuda" if has_keys is None else has_keys
        self._seed = seed
        self._has_own_code = has_own_code
        self._generators = [torch.default_generator]
        if device.type == "cuda":
            index = torch.cuda.current_device() if device.index is None else device.index
            self._generators.append(torch.cuda.default_generators[index])

    def use(self, number: int) -> None:
        """Seed them for the batch of that number, >= 0."""
        seed = mixed_seed(self._seed, number)
        for generator in self._generators:
            generator.manual_seed(seed)
        if self._has_keys:
            draw_by(_signed(seed), self._device)
        if self._has_own_code:
            random.seed(seed)
            np.random.seed(low_seed(seed))

    def keys(self, numbers: Iterable[int]) -> list[int] | None:
        """By which the dropouts draw for the batches of these numbers; None without keys."""
        if not self._has_keys:
            return None
        return [_signed(mixed_seed(self._seed, number)) for number in numbers]


def _signed(seed: int) -> int:
    """Of 64 bits, those of an int64."""
    return seed - 2**64 if seed >= 2**63 else seed


def mixed_seed(seed: int, number: int) -> int:
    """A seed in [0, 2**64) of its own for each number, whose low 32 bits are mixed as well.

    torch's generator of the CPU looks at these alone.

    Args:
        seed: >= 0.
        number: >= 0.

    Source: the output function of SplitMix64, Steele et al. 2014, once for each argument.
    """
    return _mixed(_mixed(seed) + number)


def _mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def capture_rng_state(device: torch.device) -> dict[str, Any]:
    """State of the global generators, that of ``device`` included.

    Holds tensors, numbers, lists and tuples alone, which ``torch.load(weights_only=True)`` reads.
    """
    numpy_state = np.random.get_state(legacy=False)
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    state = {
        "python": random.getstate(),
        "numpy": numpy_state,
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_rng_state(state: dict[str, Any], device: torch.device) -> None:
    """Put back what :func:`capture_rng_state` took, on the same kind of device or another."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
