"""What must be settled before any trial: the data are at hand, or their fallback is taken."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.data import FALLBACK_SUFFIX, fallback, prepare_data
from sweeper.errors import DataError, SpecError
from sweeper.paths import RunPaths
from sweeper.reference import import_folders, is_reference, load_reference, make_importable
from sweeper.space import first_value, suggest_config
from sweeper.spec import Choices, StudySpec


@dataclass(frozen=True)
class PreparedStudy:
    """A study whose data are there.

    Attributes:
        spec: As the file says, or of the fallback: then its name says so too.
        data_label: Name of the data in every record; empty when user code brings its own.
    """

    spec: StudySpec
    data_label: str


def import_user_code(spec: StudySpec) -> None:
    """Import every ``package.module:function`` of the file, so that a typo costs no trial.

    Raises:
        SpecError: If one cannot be imported, with its place in the file.
    """
    make_importable(import_folders(spec.path))
    for section, key in (("data", "name"), ("model", "architecture"), ("train", "function")):
        value = spec.sections.get(section, {}).get(key)
        for name in value.options if isinstance(value, Choices) else (value,):
            try:
                if is_reference(str(name)):
                    load_reference(str(name))
            except SpecError as exc:
                raise SpecError(f"{spec.place(f'{section}.{key}')}: {exc}") from exc


def prepare_study(spec: StudySpec, root: Path, note: Callable[[str], None]) -> PreparedStudy:
    """Decode the study's data set into the cache, or take its fallback.

    Args:
        spec: The study file.
        root: The ``mlruns`` folder.
        note: Told of a fallback.

    Raises:
        SpecError: If the user's own code cannot be imported.
        DataError: If the data are not to be had and the file names no fallback.
    """
    import_user_code(spec)
    config = suggest_config(spec, first_value, seed=spec.seed).data
    if config is None:
        return PreparedStudy(spec, "")
    cache_dir = RunPaths(root, spec.name).cache_dir
    try:
        prepare_data(config, cache_dir=cache_dir)
    except DataError as exc:
        if config.fallback is None:
            raise DataError(f"{spec.place('data.name')}: {exc}") from exc
        reason = exc
    else:
        return PreparedStudy(spec, config.name)
    stand_in = fallback(config)
    prepare_data(stand_in, cache_dir=cache_dir)
    kept = {
        key: spec.sections["data"][key]
        for key in ("validation", "batch_size")
        if key in spec.sections["data"]
    }
    section = {"name": stand_in.name, **stand_in.params, **kept}
    name = spec.name + FALLBACK_SUFFIX
    note(
        f"WARNING: {reason}\n"
        f"WARNING: training on {stand_in.name} instead, as data.fallback says; "
        f"study and MLflow experiment are named {name}, and its figures say nothing "
        f"about {config.name}"
    )
    sections = {**spec.sections, "data": section}
    return PreparedStudy(
        replace(spec, name=name, sections=sections), config.name + FALLBACK_SUFFIX
    )
