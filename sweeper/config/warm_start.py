"""``warm_start``: the earlier study, or experiment, whose results a sampler begins with."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sweeper.config.names import study_name_fault
from sweeper.config.problems import Problems, shown
from sweeper.config.scalars import came, check_keys, read_constant
from sweeper.config.yaml_source import Located

_SUFFIXES = (".yaml", ".yml")
_WAYS = "the name of a study, a path of its file, or {mlflow: EXPERIMENT}"


@dataclass(frozen=True, kw_only=True)
class WarmStartSpec:
    """Where results come from; one of the first two is empty.

    Attributes:
        study: Name of a study below the same ``mlruns``, or in the same storage; or the path of
            its study file or folder.
        experiment: Name of an experiment in the MLflow store of this study.
        rename: Name there -> name here, of settings and of metrics.
    """

    study: str = ""
    experiment: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_path(self) -> bool:
        """Whether ``study`` is a path instead of a name."""
        return "/" in self.study or self.study.endswith(_SUFFIXES)


def read_warm_start(item: Located | None, problems: Problems) -> WarmStartSpec | None:
    """The section, or None if the file has none, or nothing in it can be used."""
    if item is None or item.value is None:
        return None
    if not isinstance(item.value, dict):
        problems.blame(item, f"must be a mapping such as {{from: other-study}}, got {came(item)}")
        return None
    check_keys(item, ("from", "rename"), problems)
    source = item.value.get("from")
    if source is None:
        problems.add(item.origin, f"{item.path}.from", f"is required: {_WAYS}")
        return None
    rename = _read_rename(item.value.get("rename"), problems)
    if isinstance(source.value, dict):
        check_keys(source, ("mlflow",), problems)
        name = _read_name(source.value.get("mlflow"), source, problems)
        return WarmStartSpec(experiment=name, rename=rename) if name else None
    study = _read_name(source, source, problems)
    found = WarmStartSpec(study=study, rename=rename)
    if study and not found.is_path and (fault := study_name_fault(study)):
        problems.blame(source, f"{fault}, got {shown(study)}; wanted is {_WAYS}")
    return found if study else None


def _read_name(item: Located | None, source: Located, problems: Problems) -> str:
    name = read_constant(item, str, problems) if item else None
    is_bad = name is not None and not (name and name.isprintable())
    if item is None or is_bad:
        problems.blame(source, f"must be {_WAYS}, got {came(source)}")
    return "" if name is None or is_bad else str(name)


def _read_rename(item: Located | None, problems: Problems) -> dict[str, str]:
    if item is None or item.value is None:
        return {}
    if not isinstance(item.value, dict):
        problems.blame(item, f"must be a mapping of names there to names here, got {came(item)}")
        return {}
    read = {old: read_constant(new, str, problems) for old, new in item.items()}
    rename = {old: new for old, new in read.items() if new is not None}
    n_times = Counter(rename.values())
    for old, new in rename.items():
        if n_times[new] > 1:
            message = f"{shown(new)} is given to several names there; keep one"
            problems.blame(item.value[old], message)
    return rename
