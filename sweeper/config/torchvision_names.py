"""The names of torchvision's classification models, without importing torchvision."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_REGISTERED = re.compile(
    r"^@register_model\((?:name=\"(\w+)\")?\)\n(?:@.*\n)*def (\w+)", re.MULTILINE
)


@cache
def torchvision_names() -> frozenset[str]:
    """Read from torchvision's source, because importing it takes longer than a check may.

    Empty when torchvision is not installed; the model is then refused when it is built.
    """
    found = find_spec("torchvision")
    if found is None or found.origin is None:
        return frozenset()
    modules = (Path(found.origin).parent / "models").glob("*.py")
    return frozenset(
        name or function
        for module in modules
        for name, function in _REGISTERED.findall(module.read_text(encoding="utf-8"))
    )
