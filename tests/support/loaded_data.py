"""Data of a kind as a trial gets them, or why it does not."""

from pathlib import Path

import pytest
import torch

from sweeper.config.settings import DataConfig
from sweeper.data.cache import prepare_data
from sweeper.data.dataset import TrialData, load_data
from sweeper.errors import DataError


def load(
    config: DataConfig, folder: Path, *, seed: int = 0, resident_bytes: int = 2**30
) -> TrialData:
    """By way of a cache in the folder."""
    prepare_data(config, cache_dir=folder / "cache")
    return load_data(
        config,
        cache_dir=folder / "cache",
        seed=seed,
        device=torch.device("cpu"),
        resident_bytes=resident_bytes,
    )


def refusal(config: DataConfig, folder: Path) -> str:
    """The message with which they are refused."""
    with pytest.raises(DataError) as caught:
        load(config, folder)
    return str(caught.value)
