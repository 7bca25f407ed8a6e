"""Data sets: where they come from, and how they become batches.

This surface is free of torch, so that an agent whose cache is up to date starts at once. Workers
take :func:`~sweeper.data.dataset.load_data` from its own module.
"""

from sweeper.data.cache import prepare_data
from sweeper.data.sources import fallback

__all__ = ["fallback", "prepare_data"]
