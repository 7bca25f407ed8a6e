"""Kubernetes' quantities: ``500m``, ``16Gi``, ``1e3``."""

import re
from collections.abc import Iterator
from decimal import Decimal

from sweeper.launchers.kubernetes.field_path import Node

_DECIMAL = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_FACTORS = {
    **{sign: Decimal(1000) ** power for power, sign in enumerate(_DECIMAL, start=-3)},
    **{f"{sign}i": Decimal(1024) ** power for power, sign in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(
    r"(?P<number>[+-]?([0-9]+\.?[0-9]*|\.[0-9]+))"
    r"(?P<power>[eE][+-]?[0-9]{1,3})?(?P<suffix>[numkMGTPE]|[KMGTPE]i)?"
)
_GRAMMAR = "must be a quantity such as 500m, 4, 16G (10^9) or 16Gi (2^30)"
_CORES = re.compile(r"[0-9]+(\.[0-9]+)?|[0-9]+m")
#: Nothing runs in less; who gives less forgot the unit, or took ``m`` for mega.
_LEAST_MEMORY = 2**20


def parse_quantity(text: str) -> Decimal | None:
    """The number that a quantity stands for; None if it is none."""
    found = _QUANTITY.fullmatch(text)
    if found is None or (found["power"] and found["suffix"]):
        return None
    return Decimal(found["number"] + (found["power"] or "")) * _FACTORS[found["suffix"] or ""]


def resource_mistakes(resources: Node) -> Iterator[str]:
    """Of a container's requests and limits."""
    limits = {}
    for key in ("limits", "requests"):
        for name, node in resources.at(key).items():
            value = parse_quantity(str(node.value))
            fault = _fault(name, str(node.value), value)
            if fault:
                yield node.mistake(fault)
            elif key == "limits":
                limits[name] = value
            elif value is not None and (limit := limits.get(name)) is not None and value > limit:
                yield node.mistake(f"must not be more than limits.{name}")
    for name, node in resources.at("requests").items():
        if "/" in name and node.value != resources.at("limits", name).value:
            yield node.mistake(f"must be the same as limits.{name}, or left out")


def _fault(name: str, text: str, value: Decimal | None) -> str:
    if value is None:
        return _GRAMMAR
    if value < 0:
        return "must not be negative"
    if name == "cpu" and not _CORES.fullmatch(text):
        return "is counted in cores: 4, 0.5 or 500m"
    if name == "memory" and value < _LEAST_MEMORY:
        return "is less than 1Mi; it is counted in bytes, e.g. 16Gi"
    if "/" in name and value % 1:
        return "devices are counted in whole numbers"
    return ""
