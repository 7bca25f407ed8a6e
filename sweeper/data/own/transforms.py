"""What a study file has done to the rows of a user's ``Dataset``, and what the Dataset does."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from sweeper.config.references import load_reference
from sweeper.errors import DataError

#: Transforms of torchvision that draw, beside those called Random.
_DRAWING = (
    "AugMix", "AutoAugment", "ColorJitter", "ElasticTransform", "GaussianNoise", "RandAugment",
    "ScaleJitter", "TrivialAugmentWide",
)  # fmt: skip


class Transform:
    """A callable of the user's, or a class of which one is made without arguments.

    Args:
        key: Of the study file that names it.
        reference: ``package.module:name``.

    Raises:
        SpecError: If it cannot be imported.
        DataError: If the class needs arguments.
    """

    def __init__(self, key: str, reference: str) -> None:
        self._place = f"{key}: {reference}"
        found: Any = load_reference(reference)
        if isinstance(found, type):
            try:
                found = found()
            except Exception as exc:
                raise DataError(
                    f"{self._place} cannot be made without arguments ({exc}); name a function, or "
                    "what a module of yours has made of the class"
                ) from exc
        self._transform = found

    def __call__(self, value: Any) -> Any:
        """The input of an item, as its ``Dataset`` gives it -> what the model is to take.

        Raises:
            DataError: If it raises.
        """
        try:
            return self._transform(value)
        except Exception as exc:
            raise DataError(f"{self._place} raised {type(exc).__name__}: {exc}") from exc


def load_transform(key: str, reference: str | None) -> Transform | None:
    """The transform that a key of the study file names, if it is there."""
    return None if reference is None else Transform(key, reference)


def drawing_transform(dataset: object) -> str:
    """Class of a transform within a ``Dataset`` that looks random; empty if there is none."""
    seen: set[int] = set()
    names = (type(part).__name__ for part in _parts(dataset, seen))
    return next((n for n in names if n.startswith("Random") or n in _DRAWING), "")


def _parts(value: Any, seen: set[int]) -> Iterator[object]:
    """A Dataset or transform, and what it holds where those of torch hold others."""
    if value is None or id(value) in seen:
        return
    seen.add(id(value))
    yield value
    inner = [getattr(value, name, None) for name in ("dataset", "transform", "transforms")]
    inner += value.children() if isinstance(value, nn.Module) else []
    for part in inner:
        for one in part if isinstance(part, list | tuple) else (part,):
            yield from _parts(one, seen)
