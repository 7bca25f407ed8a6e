"""What sweeper itself takes where a study file says nothing, or searches."""

from collections.abc import Mapping

from sweeper.config.architecture_params import ARCHITECTURE_DEFAULTS
from sweeper.config.ranges import Section
from sweeper.config.scalars import field_defaults
from sweeper.config.settings import DataConfig, Scalar, TrainConfig
from sweeper.config.study import StudySpec, has_own_training


def with_defaults(sections: Mapping[str, Section]) -> dict[str, Section]:
    """``data``, ``model`` and ``train`` with every key that has a default written out.

    Args:
        sections: As far as there are some; ranges as the file has them, or plain.
    """
    is_own = has_own_training(sections.get("train", {}))
    defaults = {
        "data": field_defaults(DataConfig),
        "train": {} if is_own else field_defaults(TrainConfig),
    }
    return {key: {**defaults.get(key, {}), **section} for key, section in sections.items()}


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
    tables: Mapping[str, Mapping[str, Scalar]] = {
        "data": field_defaults(DataConfig),
        "model": ARCHITECTURE_DEFAULTS.get(str(architecture), {}),
        "train": field_defaults(TrainConfig),
    }
    found = {}
    for name in setting:
        section, *_, key = name.split(".")
        if key in tables[section]:
            found[name] = tables[section][key]
    return found
