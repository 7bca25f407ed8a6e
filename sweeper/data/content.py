"""What a data set is decoded to: arrays on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class ArrayForm(NamedTuple):
    """dtype, as numpy and torch both name it, and shape of an array."""

    dtype: str
    shape: Sequence[int]


@dataclass(frozen=True)
class Content:
    """What a data set was decoded to.

    Attributes:
        arrays: By the name of their files; of none is a side 0.
        about: What else must be known of them, as JSON has it.
    """

    arrays: Mapping[str, ArrayForm]
    about: Mapping[str, Any]
