"""``mlflow.pytorch`` without Lightning, which it imports wherever that is installed.

It does so for one callback alone, which nobody here uses, and which others get when they ask for
it. With what Lightning imports that takes four seconds of a core, half of what an agent imports.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_NAME = "mlflow.pytorch"
_CALLBACKS, _CALLBACK = f"{_NAME}._lightning_autolog", "MlflowModelCheckpointCallback"


def _import_flavor() -> ModuleType:
    if {_NAME, _CALLBACKS, "pytorch_lightning"} & sys.modules.keys():
        return import_module(_NAME)
    sys.modules[_CALLBACKS] = None  # type: ignore[assignment]  # its import fails, as MLflow allows
    try:
        flavor = import_module(_NAME)
    finally:
        del sys.modules[_CALLBACKS]
    flavor.__getattr__ = _find_callback  # type: ignore[method-assign]
    return flavor


def _find_callback(name: str) -> Any:
    if name == _CALLBACK:
        return getattr(import_module(_CALLBACKS), name)
    raise AttributeError(f"module {_NAME!r} has no attribute {name!r}")


torch_flavor = _import_flavor()
