"""The state of every global random generator that training draws from."""

import random
from typing import Any

import numpy as np
import torch


def low_seed(seed: int) -> int:
    """The low 32 bits of a seed: NumPy, scikit-learn and Lightning take no more.

    Args:
        seed: >= 0.

    Returns:
        An integer in [0, 2**32).
    """
    return seed % 2**32


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (every device).

    Args:
        seed: In [0, 2**63); NumPy's old generator takes :func:`low_seed` of it.
    """
    random.seed(seed)
    np.random.seed(low_seed(seed))
    torch.manual_seed(seed)


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
