"""What sweeper itself takes for values that a study file searches."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from sweeper.config.architecture_params import ARCHITECTURE_DEFAULTS
from sweeper.config.settings import DataConfig, Scalar, TrainConfig
from sweeper.config.study import StudySpec, has_own_training


def default_values(spec: StudySpec, setting: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """What built-in training takes where a file says nothing.

    Args:
        spec: The study file.
        setting: Values of the ranges that count, by dotted name; of them the architecture matters.

    Returns:
        By dotted name, whether the range has that value or not, of those that have a default: what
        is handed to the user's own code has none.
    """
    if has_own_training(spec.sections["train"]):
        return {}
    architecture = setting.get("model.architecture") or spec.sections["model"]["architecture"]
    tables = {
        "data": _defaults_of(DataConfig),
        "model": ARCHITECTURE_DEFAULTS.get(str(architecture), {}),
        "train": _defaults_of(TrainConfig),
    }
    return dict(_known(setting, tables))


def _known(
    names: Iterable[str], tables: Mapping[str, Mapping[str, Scalar]]
) -> Iterable[tuple[str, Scalar]]:
    for name in names:
        section, *_, key = name.split(".")
        if key in tables[section]:
            yield name, tables[section][key]


def _defaults_of(declared: type[Any]) -> dict[str, Scalar]:
    return {
        field.name: field.default
        for field in fields(declared)
        if field.default is not MISSING and field.default is not None
    }
