"""Studies that have begun, found by their file or by their folder."""

from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.data import FALLBACK_SUFFIX
from sweeper.errors import SpecError, StudyError
from sweeper.paths import RunPaths
from sweeper.spec import StudySpec, load_study


@dataclass(frozen=True)
class BegunStudy:
    """A study of which there is a folder.

    Attributes:
        spec: As the user's file says, or as it was last run.
        paths: Its files.
        is_folder: It was named by its folder, which may come from another machine: nothing in
            there is imported, and passwords of URLs are not known.
    """

    spec: StudySpec
    paths: RunPaths
    is_folder: bool


def find_begun(path: Path, root: Path) -> BegunStudy:
    """The study of a file, the one on its fallback data if only that has begun, or of a folder.

    Args:
        path: A study file, or a folder ``mlruns/studies/<name>`` wherever that lies.
        root: The ``mlruns`` folder of study files.

    Raises:
        SpecError: If it is neither.
        StudyError: If the study has not begun.
    """
    if path.is_dir():
        return _open_folder(path)
    spec = load_study(path)
    paths = RunPaths(root, spec.name)
    stand_in = RunPaths(root, spec.name + FALLBACK_SUFFIX)
    if paths.resolved_spec.exists():
        return BegunStudy(spec, paths, is_folder=False)
    if stand_in.resolved_spec.exists():
        resolved = load_study(stand_in.resolved_spec)
        spec = replace(resolved, path=path, storage=spec.storage, tracking=spec.tracking)
        return BegunStudy(spec, stand_in, is_folder=False)
    raise StudyError(f"study {spec.name!r} has not begun: sweeper run {path}")


def _open_folder(path: Path) -> BegunStudy:
    folder = path.resolve()
    paths = RunPaths(folder.parent.parent, folder.name)
    if not (path / paths.resolved_spec.name).exists():
        raise SpecError(
            f"{path}: a folder, but not that of a study: it has no {paths.resolved_spec.name}; "
            "name a study file, or a folder mlruns/studies/<name>"
        )
    spec = load_study(path / paths.resolved_spec.name)
    if folder != paths.study_dir or spec.name != paths.study:
        raise SpecError(
            f"{path}: this is the folder of study {spec.name!r}; it must lie in "
            f"mlruns/studies/{spec.name}, as it did where it comes from"
        )
    return BegunStudy(spec, paths, is_folder=True)
