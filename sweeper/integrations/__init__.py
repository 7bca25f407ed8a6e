"""Callbacks for trainers of others, which tell a trial what they measure and stop when it must.

from sweeper.integrations import LightningCallback, TransformersCallback

Neither Lightning nor transformers is loaded before its callback is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.integrations.lightning import LightningCallback
    from sweeper.integrations.transformers import TransformersCallback

__all__ = ["LightningCallback", "TransformersCallback"]

_MODULES = {"LightningCallback": "lightning", "TransformersCallback": "transformers"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
