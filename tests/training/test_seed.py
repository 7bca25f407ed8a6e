import io
import random

import numpy as np
import torch

from sweeper.training.seed import (
    capture_rng_state,
    low_seed,
    restore_rng_state,
    seed_everything,
)

CPU = torch.device("cpu")


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.standard_normal()), torch.rand(()).item()


def test_the_same_seed_draws_the_same_from_every_generator() -> None:
    draws = []
    for seed in (2**63 - 1, 2**63 - 1, 5):
        seed_everything(seed)
        draws.append(draw())
    assert draws[0] == draws[1]
    assert all(a != b for a, b in zip(draws[0], draws[2], strict=True))


def test_a_low_seed_draws_what_numpy_was_seeded_with() -> None:
    seed_everything(2**63 - 5)
    drawn = np.random.standard_normal()
    assert low_seed(2**63 - 5) == 2**32 - 5
    np.random.seed(low_seed(2**63 - 5))
    assert np.random.standard_normal() == drawn


def test_a_restored_state_draws_on_as_if_nothing_had_happened() -> None:
    seed_everything(3)
    np.random.standard_normal()  # leaves the second of a pair of normals in the state
    saved = io.BytesIO()
    torch.save(capture_rng_state(CPU), saved)
    expected = [draw(), draw()]

    saved.seek(0)
    restore_rng_state(torch.load(saved, weights_only=True), CPU)
    assert [draw(), draw()] == expected
