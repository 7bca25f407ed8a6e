"""The trials of an earlier study of sweeper's own, as a source for another one."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from sweeper.config.problems import did_you_mean
from sweeper.config.ranges import Range
from sweeper.config.reader import parse_study
from sweeper.config.settings import Scalar
from sweeper.config.space import most_epochs, suggest_config
from sweeper.config.study import StudySpec
from sweeper.errors import SpecError, StudyError
from sweeper.paths import RunPaths
from sweeper.study.attributes import Attr, StudyAttributes, state_of
from sweeper.study.find import find_study
from sweeper.study.source_trials import Source, SourceTrial
from sweeper.study.storage.backend import open_storage, store_errors

_FROM = "warm_start.from"


def read_source_study(spec: StudySpec, root: Path) -> Source:
    """Its trials that have ended by now.

    Args:
        spec: The study that begins, whose ``warm_start`` names the earlier one.
        root: The ``mlruns`` folder.

    Raises:
        SpecError: If there is no such study, or it optimised something else.
        StudyError: If its storage is out of reach, or is not one of sweeper's.
    """
    with store_errors():
        storage, study_id, name = _find(spec, root)
        attributes = StudyAttributes(storage, study_id).read()
        trials = storage.get_all_trials(study_id, deepcopy=False)
    earlier = _as_begun(name, attributes)
    _check_objective(spec, earlier)
    n_epochs, *_ = attributes.get(Attr.EPOCHS, [most_epochs(earlier)])
    return Source(f"trials of {name}", source_trials(earlier, trials), n_epochs)


def source_trials(earlier: StudySpec, trials: Sequence[FrozenTrial]) -> list[SourceTrial]:
    """Those that have ended, with all that the earlier study file says of their settings.

    Args:
        earlier: That study file.
        trials: Of the study, as its storage has them.
    """
    return [_source_trial(earlier, trial) for trial in trials if trial.state.is_finished()]


def _find(spec: StudySpec, root: Path) -> tuple[BaseStorage, int, str]:
    """Its storage, its id there, and its name."""
    assert spec.warm_start is not None
    named = spec.warm_start.study
    if not spec.warm_start.is_path:
        return _find_by_name(spec, root, named)
    try:
        found = find_study(Path(named), root)
    except SpecError as exc:  # each line of another file
        place = spec.place(_FROM)
        raise SpecError("\n".join(f"{place}: {line}" for line in str(exc).splitlines())) from exc
    study = found.open()
    if study is None:
        raise SpecError(f"{spec.place(_FROM)}: {found.not_begun()}")
    if study.spec.name == spec.name and found.paths.root == RunPaths(root, spec.name).root:
        raise SpecError(f"{spec.place(_FROM)}: is this study itself; name the earlier one")
    return study.storage, study.study_id, study.spec.name


def _find_by_name(spec: StudySpec, root: Path, name: str) -> tuple[BaseStorage, int, str]:
    """In the storage of the study that begins, else in the journal of that name."""
    paths = RunPaths(root, name)
    places = [spec] if spec.storage != "auto" else []
    if paths.journal.exists():
        places.append(replace(spec, storage="auto"))
    for place in places:
        storage = open_storage(place, paths)
        with suppress(KeyError):
            return storage, int(storage.get_study_id_from_name(name)), name
    known = [path.parent.name for path in paths.study_dir.parent.glob(f"*/{paths.journal.name}")]
    raise SpecError(
        f"{spec.place(_FROM)}: no study {name!r} has begun in {paths.study_dir.parent}"
        f"{'' if spec.storage == 'auto' else ' or in the storage'}, and one in a database of its "
        f"own is named by its study file{did_you_mean(name, set(known) - {spec.name})}"
    )


def _as_begun(name: str, attributes: Mapping[str, Any]) -> StudySpec:
    """The earlier study file as its storage keeps it, whatever became of the file since."""
    frozen = attributes.get(Attr.FROZEN)
    if not isinstance(frozen, dict):
        raise StudyError(f"the storage holds a study {name!r} that was not begun by sweeper")
    text = json.dumps({"name": name, **frozen}, ensure_ascii=False)
    try:
        return parse_study(text, Path(f"study {name} in its storage"))
    except SpecError as exc:
        raise StudyError(f"what study {name!r} searched cannot be read any more: {exc}") from exc


def _check_objective(spec: StudySpec, earlier: StudySpec) -> None:
    assert spec.warm_start is not None
    renamed = {new: old for old, new in spec.warm_start.rename.items()}
    optimised = dict(zip(earlier.objective.metrics, earlier.objective.directions, strict=True))
    for metric, direction in zip(spec.objective.metrics, spec.objective.directions, strict=True):
        there = renamed.get(metric, metric)
        if there not in optimised:
            raise SpecError(
                f"{spec.place(_FROM)}: study {earlier.name!r} optimised "
                f"{', '.join(optimised)}, and its storage holds no {there}; if that is the same, "
                f"say so in warm_start.rename. All metrics are in MLflow: "
                f"`from: {{mlflow: {earlier.name}}}`"
            )
        if optimised[there] != direction:
            raise SpecError(
                f"{spec.place(_FROM)}: study {earlier.name!r} had to {optimised[there]} {there}, "
                f"this one has to {direction} {metric}"
            )


def _source_trial(earlier: StudySpec, trial: FrozenTrial) -> SourceTrial:
    def suggest(name: str, _: Range) -> Scalar:
        value: Scalar = trial.params[name]
        return value

    settings: Mapping[str, Scalar] = {}
    with suppress(KeyError):  # of one that failed before its settings were written
        settings = suggest_config(earlier, suggest, seed=0).params
    metrics = dict(zip(earlier.objective.metrics, trial.values or [], strict=False))
    return SourceTrial(state_of(trial), settings, metrics, trial.intermediate_values)
