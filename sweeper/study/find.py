"""A study by its file or by its folder: the way to it for every command that does not begin it."""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.config.names import FALLBACK_SUFFIX
from sweeper.config.reader import load_resolved, load_study
from sweeper.config.study import StudySpec
from sweeper.config.urls import is_one_database
from sweeper.config.user_code import references
from sweeper.errors import SpecError, StudyError
from sweeper.paths import RunPaths
from sweeper.study.create import load_study_from_storage
from sweeper.study.study import SweepStudy
from sweeper.text import redacted

_FOREIGN = (
    "as a folder may come from anybody, no server that it names is asked, who would be given the "
    "passwords and tokens of your environment"
)


@dataclass(frozen=True)
class FoundStudy:
    """Where a study is, or would be: it need not have begun.

    Attributes:
        spec: As the user's file says, or as it was last run.
        paths: Its files.
        references: The user's own code that may be called: what the file that was named on the
            command line names. A folder may come from another machine, so nothing that it, its
            ``study.yaml`` included, names is imported; nor are passwords of URLs known.
        is_folder: No study file was named, but a folder, which alone says what ``spec`` does.
    """

    spec: StudySpec
    paths: RunPaths
    references: Collection[str] = ()
    is_folder: bool = False

    @property
    def is_here(self) -> bool:
        """Whether a command on this machine has begun it; it may be in its storage even so."""
        return self.paths.resolved_spec.exists()

    def open(self) -> SweepStudy | None:
        """The study in its storage; None if it has not begun there.

        Raises:
            StudyError: If the storage cannot be opened; or it, or the object store, lies outside
                of a folder that alone names it.
        """
        if self.is_folder:
            self.refuse_elsewhere()
        return load_study_from_storage(self.spec, self.paths)

    def open_begun(self) -> SweepStudy:
        """As :meth:`open`, for whom the study must have begun; raises StudyError if it has not."""
        study = self.open()
        if study is None:
            raise self.not_begun()
        return study

    def refuse_elsewhere(self) -> None:
        """Make sure that storage and object store lie in the folder; raises StudyError."""
        places = {"storage": self.spec.storage, "run.object_store": self.spec.run.object_store}
        for key, url in places.items():
            if url is not None and url != "auto":
                raise StudyError(
                    f"{self.spec.place(key)}: {redacted(url)}: {_FOREIGN}; name your study file "
                    f"instead, with the folder as mlruns/studies/{self.paths.study}"
                )

    def try_open(self) -> tuple[SweepStudy | None, str]:
        """As :meth:`open`; beside None, why it cannot be had."""
        try:
            study = self.open()
        except StudyError as exc:
            return None, str(exc)
        return study, "" if study else f"the storage has no study {self.paths.study!r}"

    def not_begun(self) -> StudyError:
        """What to raise if it was to have begun."""
        return StudyError(f"study {self.spec.name!r} has not begun: {self.spec.command('run')}")


def find_study(source: Path | StudySpec, root: Path) -> FoundStudy:
    """The study of a file, or the one on its fallback data if only that has begun here.

    Args:
        source: A study file, by its path or as it was read; or a folder
            ``mlruns/studies/<name>`` wherever that lies.
        root: The ``mlruns`` folder of study files.

    Raises:
        SpecError: If it is none of these.
    """
    if isinstance(source, Path) and source.is_dir():
        return _of_folder(source)
    spec = source if isinstance(source, StudySpec) else load_study(source)
    found = FoundStudy(spec, RunPaths(root, spec.name), {name for _, name in references(spec)})
    stand_in = RunPaths(root, spec.name + FALLBACK_SUFFIX)
    if found.is_here or not stand_in.resolved_spec.exists():
        return found
    resolved = load_resolved(stand_in.resolved_spec)
    spec = replace(
        resolved,
        path=spec.path,
        origins=spec.origins,
        overrides=spec.overrides,
        storage=spec.storage,
        tracking=spec.tracking,
    )
    return FoundStudy(spec, stand_in, found.references)


def file_by_name(paths: RunPaths) -> Path:
    """The resolved file of a study that has begun here, for commands that are told its name alone.

    Raises:
        SpecError, StudyError: If it names a server, as its folder may have come from elsewhere.
    """
    found = FoundStudy(load_resolved(paths.resolved_spec), paths, is_folder=True)
    found.refuse_elsewhere()
    _with_own_tracking(found.spec)
    return paths.resolved_spec


def _of_folder(path: Path) -> FoundStudy:
    folder = path.resolve()
    paths = RunPaths(folder.parent.parent, folder.name)
    if not (path / paths.resolved_spec.name).exists():
        raise SpecError(
            f"{path}: a folder, but not that of a study: it has no {paths.resolved_spec.name}; "
            "name a study file, or a folder mlruns/studies/<name>"
        )
    spec = load_resolved(path / paths.resolved_spec.name)
    if folder != paths.study_dir or spec.name != paths.study:
        raise SpecError(
            f"{path}: this is the folder of study {spec.name!r}; it must lie in "
            f"mlruns/studies/{spec.name}, as it did where it comes from"
        )
    _refuse_links_out(paths)
    return FoundStudy(_with_own_tracking(spec), paths, is_folder=True)


def _refuse_links_out(paths: RunPaths) -> None:
    """What is written to a folder, or cut off there, must not happen to a file elsewhere."""
    root = paths.root.resolve()
    below = (
        Path(folder, name)
        for folder, folders, files in os.walk(paths.study_dir)
        for name in (*folders, *files)
    )
    for path in (*root.iterdir(), *below):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise SpecError(
                f"{path}: is a link to {path.resolve()}, outside of {root}; as a folder may come "
                "from anybody, such links are not followed: put the file itself there, or name "
                "your study file instead"
            )


def _with_own_tracking(spec: StudySpec) -> StudySpec:
    """The study of a folder, with MLflow where the folder says, if the user says so as well."""
    uri, own = spec.tracking.uri, os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri == "auto":
        return spec
    if own != uri and not is_one_database(own, uri):
        raise SpecError(
            f"{spec.place('tracking.uri')}: {redacted(uri)}: {_FOREIGN}; set MLFLOW_TRACKING_URI "
            "to the whole address if it is yours, or name your study file instead"
        )
    return replace(spec, tracking=replace(spec.tracking, uri=own))
