"""Rows of built-in data sets."""

from dataclasses import replace

from sweeper.config.settings import DataConfig
from sweeper.data.built_in.sources import DIGIT_NAMES, SOURCES
from sweeper.data.content import CacheEntry
from sweeper.data.images.rows import map_images
from sweeper.data.preprocessing import Preprocessing
from sweeper.data.rows import TensorRows
from sweeper.data.targets import count_outputs


def map_rows(entry: CacheEntry, config: DataConfig) -> TensorRows:
    """The images of a cache entry of built-in data, with the targets of the task."""
    rows = map_images(entry, config.task)
    if rows.task != "classification":
        return rows
    classes = SOURCES[config.name].classes if config.name in SOURCES else DIGIT_NAMES
    outputs = list(classes[: count_outputs(rows.targets, rows.task)])
    return replace(rows, preprocessing=Preprocessing("arrays", {"outputs": outputs}, {}))
