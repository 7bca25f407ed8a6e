"""A study is begun in its storage, or opened there; what its trials mean cannot change then."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from sweeper.config.defaults import with_defaults
from sweeper.config.in_memory import MODULE
from sweeper.config.render import plain_study
from sweeper.config.settings import Draws
from sweeper.config.study import SEARCHABLE, StudySpec
from sweeper.durable import Step, durable, replace_file
from sweeper.errors import StudyError
from sweeper.paths import RunPaths
from sweeper.study.attributes import Attr, StudyAttributes
from sweeper.study.storage.backend import open_storage, opening_errors
from sweeper.study.storage.shared_locks import open_locks
from sweeper.study.study import SweepStudy
from sweeper.study.warm_start import WarmStart, find_warm_start, keep_warm_start

#: Parts of a study file that decide what its trials mean; they cannot change once it has begun.
FROZEN = ("objective", "seed", "data", "model", "train", "forbid", "warm_start")


def create_study(
    spec: StudySpec, paths: RunPaths, read_warm_start: Callable[[], WarmStart] | None = None
) -> SweepStudy:
    """Open the study, or begin it.

    Args:
        spec: The study file.
        paths: Files of the study.
        read_warm_start: Called when a study begins whose file has a ``warm_start``.

    Raises:
        StudyError: If the storage cannot be opened, the file's search changed since the study
            began, or the folder holds another study's trials.
    """
    frozen = _frozen(spec)
    with opening_errors(spec), open_locks(spec)(paths.lock).held():
        storage = open_storage(spec, paths)  # makes the tables of a new database
        study_id = _find_or_begin(spec, storage, frozen, read_warm_start)
        key = StudyAttributes(storage, study_id).settle(Attr.KEY, uuid.uuid4().hex[:12])
        _refuse_strange_trials(spec, paths, storage.get_all_trials(study_id, deepcopy=False), key)
        _write_key(paths, key)
    return SweepStudy(spec, paths, storage)


def _frozen(spec: StudySpec) -> dict[str, Any]:
    frozen = {key: value for key, value in plain_study(spec).items() if key in FROZEN}
    frozen.get("data", {}).pop("root", None)  # where the files lie does not change what they are
    return frozen


def refuse_changes(study: SweepStudy) -> None:
    """Raise StudyError if the file no longer says what the study's trials were drawn by."""
    kept = study.attributes.read()
    if Attr.FROZEN in kept:
        _refuse_changes(study.spec, kept[Attr.FROZEN], _frozen(study.spec))


def _find_or_begin(
    spec: StudySpec,
    storage: BaseStorage,
    frozen: Mapping[str, Any],
    read_warm_start: Callable[[], WarmStart] | None,
) -> int:
    """Its id. What it begins with is read before it is there: what cannot be read begins nothing.

    A process may have been killed after each of the steps.
    """
    study_id, warm = _find(spec, storage), None
    if study_id is not None:
        _refuse_changes(
            spec, _settle_meaning(spec, StudyAttributes(storage, study_id), frozen), frozen
        )
    if spec.warm_start and (study_id is None or not find_warm_start(storage, study_id)):
        assert read_warm_start is not None, "whoever begins a study can read what it begins with"
        warm = read_warm_start()
    if study_id is None:
        directions = [StudyDirection[way.upper()] for way in spec.objective.directions]
        with durable(Step.CREATE_STUDY):
            study_id = int(storage.create_new_study(directions, spec.name))
        _settle_meaning(spec, StudyAttributes(storage, study_id), frozen)
    if warm is not None:
        keep_warm_start(storage, study_id, warm)
    return study_id


def _settle_meaning(
    spec: StudySpec, attributes: StudyAttributes, frozen: Mapping[str, Any]
) -> Mapping[str, Any]:
    """What decides what its trials mean, as it was when it began.

    How their batches draw comes first: without it a study that has begun draws from one stream.
    """
    if spec.run.has_lanes and Attr.FROZEN not in attributes.read():
        draws: Draws = "batch"
        attributes.settle(Attr.DRAWS, draws)
    settled: Mapping[str, Any] = attributes.settle(Attr.FROZEN, frozen)
    return settled


def _find(spec: StudySpec, storage: BaseStorage) -> int | None:
    with suppress(KeyError):
        return int(storage.get_study_id_from_name(spec.name))
    return None


def load_study_from_storage(spec: StudySpec, paths: RunPaths) -> SweepStudy | None:
    """Open the study as it is; None if it has not begun."""
    if spec.storage == "auto" and not paths.journal.exists():
        return None
    storage = open_storage(spec, paths)
    try:
        return SweepStudy(spec, paths, storage)
    except KeyError:
        return None


def _refuse_strange_trials(
    spec: StudySpec, paths: RunPaths, trials: Sequence[FrozenTrial], key: str
) -> None:
    """Raise if the folder's event logs are not those of the storage's trials.

    A trial is claimed before it has a folder, so one that nobody claimed is another's.
    """
    unclaimed = [
        number
        for number in paths.trial_numbers()
        if number >= len(trials) or Attr.OWNER not in trials[number].user_attrs
    ]
    if _folder_key(paths) not in ("", key) or unclaimed:
        raise StudyError(
            f"{spec.place('storage')}: it does not hold the study whose trials lie in "
            f"{paths.trials_dir}; was `storage` changed, or emptied, or brought back to an "
            f"earlier state? Set it back, or give the file a new `name:`, or move "
            f"{paths.study_dir} away"
        )


def _folder_key(paths: RunPaths) -> str:
    """Of the study whose folder it is; empty if none has begun in it."""
    return paths.key.read_text(encoding="utf-8") if paths.key.exists() else ""


def _write_key(paths: RunPaths, key: str) -> None:
    if _folder_key(paths):
        return
    paths.study_dir.mkdir(parents=True, exist_ok=True)
    with durable(Step.KEY_FILE), replace_file(paths.key) as aside:
        aside.write_text(key, encoding="utf-8")


def _refuse_changes(spec: StudySpec, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    # What an older version wrote lacks settings that came later; it did what they do by default.
    began_with = {
        **before,
        **with_defaults({key: before[key] for key in SEARCHABLE if key in before}),
    }
    old, new = _leaves(began_with), _leaves(now)
    changes = [
        f"  {name}: was {old.get(name, 'absent')}, is {new.get(name, 'absent')}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name) and not _is_moved(old.get(name), new.get(name))
    ]
    if changes:
        raise StudyError(
            "\n".join(
                [
                    f"{spec.path}: the search has changed since study {spec.name!r} began:",
                    *changes,
                    "Trials before and after would not compare. Change it back, or begin another "
                    "study with `--name NEW`, or a new `name:` in the file; it learns from these "
                    f"trials by `warm_start: {{from: {spec.name}}}`. Budget, sampler, pruner, run "
                    "and tracking may change freely.",
                ]
            )
        )


def _is_moved(old: str | None, new: str | None) -> bool:
    """Whether a function of a notebook was put into a module; code has versions of its own."""
    module, _, name = (old or "").partition(":")
    return module == f'"{MODULE}' and (new or "").endswith(f":{name}")


def _leaves(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value and not value.keys() & {"low", "choices"}:
        return {
            name: leaf
            for key, inner in value.items()
            for name, leaf in _leaves(inner, f"{path}.{key}" if path else key).items()
        }
    return {path: json.dumps(value)}
