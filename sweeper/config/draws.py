"""What makes the batches of a study's trials draw random numbers."""

from collections.abc import Sequence
from typing import Any

from sweeper.config.architecture_params import ARCHITECTURE_PARAMS
from sweeper.config.ranges import FloatRange, IntRange, options_of, walk_values
from sweeper.config.references import is_reference
from sweeper.config.study import StudySpec
from sweeper.config.user_code import PLACES

#: Keys whose last word is one of these draw as soon as they are more than 0.
_SHARES = frozenset(
    {
        "dropout",
        "random_crop",
        "random_flip",
        "cutout",
        "color_jitter",
        "mask_time",
        "mask_frequency",
        "mixup",
    }
)


def drawing_key(spec: StudySpec) -> str:
    """The first dotted key by which some trial's batches may draw; empty if none do.

    Code of the user's own may draw wherever it is called, and so may networks of torchvision.
    """
    values = walk_values(spec.sections)
    return next((name for name, _, value in values if _may_draw(name, value)), "")


def _may_draw(name: str, value: Any) -> bool:
    options = _options(value)
    if name in PLACES and any(is_reference(str(option)) for option in options):
        return True
    if name == "model.architecture":
        return any(option not in ARCHITECTURE_PARAMS for option in options)
    return name.rpartition(".")[2] in _SHARES and any(options)


def _options(value: Any) -> Sequence[Any]:
    """Whatever it may be, or the ends of that."""
    is_interval = isinstance(value, FloatRange | IntRange)
    return (value.low, value.high) if is_interval else options_of(value)
