"""What must be settled before any trial: the data are at hand, or their fallback is taken."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.config.grid import count_settings
from sweeper.config.names import FALLBACK_SUFFIX, study_name_fault
from sweeper.config.ranges import Choices, options_of
from sweeper.config.references import import_folders, load_reference, make_importable
from sweeper.config.settings import DataConfig
from sweeper.config.space import first_value, suggest_config
from sweeper.config.study import SEARCHABLE, StudySpec
from sweeper.config.torchvision_names import torchvision_names
from sweeper.config.user_code import references
from sweeper.data.built_in.sources import fallback
from sweeper.data.cache import prepare_data
from sweeper.data.kinds import label_of
from sweeper.errors import DataError, SpecError, TrainingError
from sweeper.paths import RunPaths
from sweeper.study.storage.filesystem import read_mountinfo
from sweeper.study.storage.preflight import check_stores

#: More would take seconds to list, and each waits in the storage.
_MOST_POINTS = 100_000


@dataclass(frozen=True)
class PreparedStudy:
    """A study whose data are there.

    Attributes:
        spec: As the file says, or of the fallback: then its name says so too.
        paths: Its files.
        data_label: Name of the data in every record; empty when user code brings its own.
    """

    spec: StudySpec
    paths: RunPaths
    data_label: str


def import_user_code(spec: StudySpec) -> None:
    """Import every ``package.module:function`` of the file, so that a typo costs no trial.

    Raises:
        SpecError: If one cannot be imported, with its place in the file.
    """
    make_importable(import_folders(spec.path))
    for key, reference in references(spec):
        try:
            load_reference(reference)
        except SpecError as exc:
            raise SpecError(f"{spec.place(key)}: {exc}") from exc


def prepare_study(spec: StudySpec, root: Path, note: Callable[[str], None]) -> PreparedStudy:
    """Decode the study's data set into the cache, or take its fallback.

    Args:
        spec: The study file.
        root: The ``mlruns`` folder.
        note: Told of a fallback, and of what a file system may not keep.

    Raises:
        SpecError: If the user's own code cannot be imported, or nothing can be drawn.
        StudyError: If this machine cannot open such a storage, or it cannot lie there, or the
            object store does not take files.
        TrackerError: The same for MLflow's store.
        DataError: If the data are not to be had and the file names no fallback.
        TrainingError: If weights that a model begins with are not to be had.
    """
    import_user_code(spec)
    _check_search(spec)
    paths = RunPaths(root, spec.name)
    check_stores(spec, paths, note, mountinfo=read_mountinfo())
    config = suggest_config(spec, first_value, seed=spec.seed).data
    if config is None:
        return PreparedStudy(spec, paths, "")
    _fetch_weights(spec)
    if config.fallback and (fault := study_name_fault(spec.name + FALLBACK_SUFFIX)):
        message = f"with data.fallback, {FALLBACK_SUFFIX} may be added, and a name {fault}"
        raise SpecError(f"{spec.place('name')}: {message}")
    try:
        prepare_data(config, cache_dir=paths.cache_dir)
    except DataError as exc:
        if config.fallback is None:
            raise DataError(placed(spec, str(exc), "data.name")) from exc
        reason = exc
    else:
        return PreparedStudy(spec, paths, label_of(config))
    stand_in = fallback(config)
    prepare_data(stand_in, cache_dir=paths.cache_dir)
    prepared = _on_other_data(spec, paths.root, config, stand_in)
    note(
        f"WARNING: {reason}\n"
        f"WARNING: training on {stand_in.name} instead, as data.fallback says; "
        f"study and MLflow experiment are named {prepared.spec.name}, and its figures say nothing "
        f"about {config.name}"
    )
    return prepared


def placed(spec: StudySpec, message: str, path: str) -> str:
    """A message with the place in the file of the key that it begins with, else of another."""
    key, _, rest = message.partition(": ")
    if key.partition(".")[0] in (*SEARCHABLE, "objective") and rest:
        return f"{spec.place(key)}: {rest}"
    return f"{spec.place(path)}: {message}"


def _fetch_weights(spec: StudySpec) -> None:
    """Bring the weights that models begin with, so that absent ones cost no trial."""
    for architecture, word in _pretrained(spec):
        from sweeper.models.pretrained import fetch_weights  # loads torch

        try:
            fetch_weights(architecture, word)
        except TrainingError as exc:
            raise TrainingError(placed(spec, str(exc), "model.architecture")) from exc


def _pretrained(spec: StudySpec) -> Iterator[tuple[str, str]]:
    """Each architecture of torchvision, and each word for its weights but none."""
    section = spec.sections.get("model", {})
    architectures = section.get("architecture")
    for architecture in options_of(architectures):
        branch = architectures.branch(architecture) if isinstance(architectures, Choices) else {}
        for word in options_of({**section, **branch}.get("weights")):
            if architecture in torchvision_names() and word not in (None, "none"):
                yield str(architecture), str(word)


def _on_other_data(
    spec: StudySpec, root: Path, wanted: DataConfig, stand_in: DataConfig
) -> PreparedStudy:
    """The study on its fallback, which its name and that of its data say."""
    kept = {
        key: spec.sections["data"][key]
        for key in ("validation", "batch_size")
        if key in spec.sections["data"]
        and not isinstance(spec.sections["data"][key], Mapping)  # the digits have no columns
    }
    section = {"name": stand_in.name, **stand_in.params, **kept}
    name = spec.name + FALLBACK_SUFFIX
    fallen_back = replace(spec, name=name, sections={**spec.sections, "data": section})
    return PreparedStudy(fallen_back, RunPaths(root, name), wanted.name + FALLBACK_SUFFIX)


def _check_search(spec: StudySpec) -> None:
    """See that a grid can be listed, and that ``forbid`` leaves something."""
    n_settings = count_settings(spec, _MOST_POINTS + 1)
    if n_settings == 0:
        raise SpecError(f"{spec.place('forbid')}: leaves nothing to draw; loosen it")
    if spec.sampler.name == "grid" and n_settings > _MOST_POINTS:
        raise SpecError(
            f"{spec.place('sampler.name')}: the grid has more than {_MOST_POINTS:,} points; "
            "make it coarser, or draw from it with `sampler: {name: random}`"
        )
