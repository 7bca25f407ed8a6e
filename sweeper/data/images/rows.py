"""Rows of pictures: uint8 in the cache, normalised by what training rows say."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256

from PIL import Image

from sweeper.config.records import read_record
from sweeper.config.settings import DataConfig
from sweeper.data.channels import ChannelSums
from sweeper.data.content import CacheEntry
from sweeper.data.images.form import PictureForm, describe_pictures
from sweeper.data.images.pixels import PICTURE
from sweeper.data.labelled.labels import Labels
from sweeper.data.preprocessing import Preprocessing
from sweeper.data.rows import TensorRows, map_arrays
from sweeper.data.targets import read_targets
from sweeper.trial import Task


def map_rows(entry: CacheEntry, config: DataConfig) -> TensorRows:
    """The pictures of a cache entry that were files of the user's own."""
    labels = read_record(Labels, entry.content.about["labels"])
    form = read_record(PictureForm, entry.content.about["pictures"])
    rows = map_images(entry, labels.task)
    strings = {
        "shape": form.shape,
        "is_sized": "size" in config.params,
        "example": {PICTURE: _blank(form.shape)},
    }
    return replace(
        rows,
        digest=sha256(f"{entry.digest} {labels.classes}".encode()).hexdigest(),
        labels=labels,
        inferred=describe_pictures(form),
        source=form.digest,
        preprocessing=Preprocessing("images", strings, {}),
    )


def _blank(shape: tuple[int, int, int]) -> str:
    """A grey picture as a file, in base64."""
    file = io.BytesIO()
    Image.new("L", shape[:0:-1], 128).save(file, "PNG")
    return b64encode(file.getvalue()).decode()


def map_images(entry: CacheEntry, task: Task | None) -> TensorRows:
    """The images of a cache entry, with the targets of a task."""
    arrays = map_arrays(entry)
    targets, task = read_targets(arrays["targets"], task)
    return TensorRows(
        arrays["inputs"],
        targets,
        entry.digest,
        read_record(ChannelSums, entry.content.about["sums"]),
        task,
        arrays.get("marks"),
    )
