"""What pictures are, as their cache entry keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.data.labelled.labels import named
from sweeper.text import format_count


@dataclass(frozen=True)
class PictureForm:
    """What the files of pictures hold, and what was made of them.

    Attributes:
        n_pictures: Of all rows.
        modes: Pictures in each of Pillow's modes.
        shape: Channels, height and width that they were brought to.
        digest: SHA-256 of the content of all files, in hex.
    """

    n_pictures: int
    modes: Mapping[str, int]
    shape: tuple[int, int, int]
    digest: str


def describe_pictures(form: PictureForm) -> str:
    """What was found out about pictures, in a line."""
    modes = named(f"{mode} in {n}" for mode, n in form.modes.items())
    n_channels, height, width = form.shape
    kind = "grey" if n_channels == 1 else "coloured"
    return (
        f"{format_count(form.n_pictures, 'picture')}{modes}, taken as {kind}, {height} x {width}"
    )
