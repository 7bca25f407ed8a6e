"""Studies that have begun, found by their file or by their folder."""

from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.config.names import FALLBACK_SUFFIX
from sweeper.config.reader import load_study
from sweeper.config.study import StudySpec
from sweeper.errors import SpecError, StudyError
from sweeper.paths import RunPaths
from sweeper.study.create import load_study_from_storage
from sweeper.study.study import SweepStudy


@dataclass(frozen=True)
class ExistingStudy:
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

    def open(self) -> tuple[SweepStudy | None, str]:
        """The study in its storage; None and the reason if it cannot be had."""
        try:
            study = load_study_from_storage(self.spec, self.paths)
        except StudyError as exc:
            return None, str(exc)
        return study, "" if study else f"the storage has no study {self.paths.study!r}"


def find_begun(path: Path, root: Path) -> ExistingStudy:
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
    if paths.resolved_spec.exists():
        return ExistingStudy(spec, paths, is_folder=False)
    if stand_in := find_stand_in(spec, root):
        return stand_in
    raise not_begun(spec)


def not_begun(spec: StudySpec) -> StudyError:
    """What to raise if a study has not begun."""
    return StudyError(f"study {spec.name!r} has not begun: sweeper run {spec.path}")


def find_stand_in(spec: StudySpec, root: Path) -> ExistingStudy | None:
    """The study that runs on the fallback data of a study file; None if there is none."""
    paths = RunPaths(root, spec.name + FALLBACK_SUFFIX)
    if not paths.resolved_spec.exists():
        return None
    resolved = load_study(paths.resolved_spec)
    spec = replace(
        resolved, path=spec.path, lines=spec.lines, storage=spec.storage, tracking=spec.tracking
    )
    return ExistingStudy(spec, paths, is_folder=False)


def load_begun(spec: StudySpec, root: Path) -> SweepStudy:
    """The study of a file, the one on its fallback data if only that has begun.

    Raises:
        StudyError: If neither has begun, or the storage cannot be opened.
    """
    study = load_if_begun(spec, root)
    if study is None:
        raise not_begun(spec)
    return study


def load_if_begun(spec: StudySpec, root: Path) -> SweepStudy | None:
    """As :func:`load_begun`; None if neither has begun."""
    study = load_study_from_storage(spec, RunPaths(root, spec.name))
    if study is None and (stand_in := find_stand_in(spec, root)):
        study = load_study_from_storage(stand_in.spec, stand_in.paths)
    return study


def _open_folder(path: Path) -> ExistingStudy:
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
    return ExistingStudy(spec, paths, is_folder=True)
