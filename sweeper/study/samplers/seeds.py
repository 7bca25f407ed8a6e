"""Seeds of trials and draws, the same on every machine and in every process."""

import hashlib


def trial_seed(study_seed: int, number: int) -> int:
    """Seed of one trial's weights, shuffling and dropout.

    Args:
        study_seed: Of the study file, any integer.
        number: Of the trial, >= 0.

    Returns:
        An integer in [0, 2**63): the first 63 bits of a BLAKE2b hash of both, so neighbouring
        numbers or studies share nothing.
    """
    return _hashed(f"{study_seed}/{number}") >> 1


def draw_seed(study_seed: int, number: int) -> int:
    """Seed of the sampler for one trial's settings.

    Args:
        study_seed: Of the study file, any integer.
        number: Of the trial, >= 0.

    Returns:
        An integer in [0, 2**32), which is what Optuna's samplers take.
    """
    return _hashed(f"{study_seed}/{number}/draw/0") >> 32


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
