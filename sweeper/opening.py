"""A study is begun in its storage, or opened there; what its trials mean cannot change then."""

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from sweeper.durable import Step, durable
from sweeper.errors import StudyError
from sweeper.paths import RunPaths
from sweeper.spec import StudySpec
from sweeper.spec.render import plain_study
from sweeper.storage import open_lock, open_storage, opening_errors
from sweeper.study import Attr, SweepStudy

#: Parts of a study file that decide what its trials mean; they cannot change once it has begun.
FROZEN = ("objective", "seed", "data", "model", "train", "forbid")


def create_study(spec: StudySpec, paths: RunPaths) -> SweepStudy:
    """Open the study, or begin it.

    Raises:
        StudyError: If the storage cannot be opened, or the file's search changed since the study
            began.
    """
    frozen = {key: value for key, value in plain_study(spec).items() if key in FROZEN}
    frozen.get("data", {}).pop("root", None)  # where the files lie does not change what they are
    with opening_errors(spec), open_lock(spec, paths).held():
        storage = open_storage(spec, paths)  # makes the tables of a new database
        study_id = _find_or_create(spec, storage)
        attrs = storage.get_study_user_attrs(study_id)
        if Attr.FROZEN not in attrs:
            with durable(Step.ATTRIBUTE):
                storage.set_study_user_attr(study_id, Attr.FROZEN, frozen)
        if spec.run.depot and Attr.DEPOT not in attrs:
            with durable(Step.ATTRIBUTE):
                storage.set_study_user_attr(study_id, Attr.DEPOT, uuid.uuid4().hex[:12])
    _refuse_changes(spec, attrs.get(Attr.FROZEN, frozen), frozen)
    return SweepStudy(spec, paths, storage)


def _find_or_create(spec: StudySpec, storage: BaseStorage) -> int:
    with suppress(KeyError):
        return int(storage.get_study_id_from_name(spec.name))
    directions = [StudyDirection[direction.upper()] for direction in spec.objective.directions]
    with durable(Step.CREATE_STUDY):
        return int(storage.create_new_study(directions, spec.name))


def load_study_from_storage(spec: StudySpec, paths: RunPaths) -> SweepStudy | None:
    """Open the study as it is; None if it has not begun."""
    if spec.storage == "auto" and not paths.journal.exists():
        return None
    storage = open_storage(spec, paths)
    try:
        return SweepStudy(spec, paths, storage)
    except KeyError:
        return None


def _refuse_changes(spec: StudySpec, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    old, new = _leaves(before), _leaves(now)
    changes = [
        f"  {name}: was {old.get(name, 'absent')}, is {new.get(name, 'absent')}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    if changes:
        raise StudyError(
            "\n".join(
                [
                    f"{spec.path}: the search has changed since study {spec.name!r} began:",
                    *changes,
                    "Trials before and after would not compare. Change it back, or give the file "
                    "a new `name:`; budget, sampler, pruner, run and tracking may change freely.",
                ]
            )
        )


def _leaves(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value and not value.keys() & {"low", "choices"}:
        return {
            name: leaf
            for key, inner in value.items()
            for name, leaf in _leaves(inner, f"{path}.{key}" if path else key).items()
        }
    return {path: json.dumps(value)}
