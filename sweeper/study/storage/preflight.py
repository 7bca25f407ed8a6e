"""Whether a study's stores can be where the study file puts them, before anything is written."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from sweeper.config.study import StudySpec
from sweeper.config.urls import tracking_fault
from sweeper.errors import StudyError, TrackerError
from sweeper.paths import RunPaths
from sweeper.study.storage.filesystem import Locks, find_mount
from sweeper.study.storage.object_store import check_object_store

#: Its write-ahead log needs memory that all readers share, and its journal needs locks that many
#: shares do not keep (sqlite.org/wal.html, sqlite.org/useovernet.html).
_SQLITE = "SQLite needs a disk of this machine: over a network its file gets damaged"


def check_stores(
    spec: StudySpec, paths: RunPaths, note: Callable[[str], None], *, mountinfo: str
) -> None:
    """See that drivers are installed, and that the file systems keep what the stores need.

    Args:
        spec: The study file.
        paths: Its files.
        note: Told what cannot be seen from here.
        mountinfo: What is mounted, as :func:`.filesystem.read_mountinfo` has it.

    Raises:
        StudyError: If this machine cannot open such a storage, or it cannot lie there, or the
            object store does not take files.
        TrackerError: The same for MLflow's store.
    """
    check_places(spec, paths, note, mountinfo=mountinfo)
    if spec.storage != "auto":
        _check_driver(spec)
    if spec.run.object_store is not None:
        try:
            check_object_store(spec.run.object_store)
        except StudyError as exc:
            raise StudyError(f"{spec.place('run.object_store')}: {exc}") from exc


def check_places(
    spec: StudySpec, paths: RunPaths, note: Callable[[str], None], *, mountinfo: str
) -> None:
    """What :func:`check_stores` sees of file systems alone, for whoever will run the study.

    Raises:
        StudyError: If the storage cannot lie where it would.
        TrackerError: The same for MLflow's store.
    """
    check_tracking_place(spec, paths, mountinfo=mountinfo)
    if spec.is_on_sqlite:
        _check_sqlite(spec, mountinfo)
    _check_locks(spec, paths, note, mountinfo)


def check_tracking_place(spec: StudySpec, paths: RunPaths, *, mountinfo: str) -> None:
    """See that MLflow can keep its runs where the study file or the environment says.

    Raises:
        TrackerError: If the environment names no MLflow store, or a network holds a SQLite file.
    """
    place, uri = _tracking_place(spec)
    if place == _ENVIRONMENT and (fault := tracking_fault(uri)):
        raise TrackerError(f"{place}: {fault}")
    file = _tracking_file(uri, paths)
    if file is not None and (where := _network(file, mountinfo)):
        raise TrackerError(
            f"{place}: {_SQLITE}; {file} is on {where}; start `mlflow server` on a machine that "
            "all can reach, with its own store on a disk there, and set tracking.uri to "
            "http://that-machine:5000; or start the study in a folder on a disk of this machine"
        )


def check_writable(spec: StudySpec, paths: RunPaths) -> None:
    """See that a run may write the files of the study and of its stores on this machine.

    Nothing is written: the system is asked.

    Raises:
        StudyError: If it may not.
    """
    files = [paths.lock, _tracking_file(_tracking_place(spec)[1], paths)]
    if spec.is_on_sqlite:
        files.append(_sqlite_file(spec.storage))
    for file in filter(None, files):
        around = next(folder for folder in file.absolute().parents if os.path.lexists(folder))
        if not (os.path.isdir(around) and os.access(around, os.W_OK | os.X_OK)):
            raise StudyError(
                f"{file}: a run writes it, and {around} is no folder that may be written to; see "
                "that you may write there, or start the study in a folder where you may"
            )


#: A place of tracking.uri.
_ENVIRONMENT = "$MLFLOW_TRACKING_URI"


def _tracking_place(spec: StudySpec) -> tuple[str, str]:
    """What says where MLflow keeps runs, and what it says: a URI or ``auto``."""
    uri = spec.tracking.uri
    if uri == "auto" and (address := os.environ.get("MLFLOW_TRACKING_URI")):
        return _ENVIRONMENT, address
    return spec.place("tracking.uri"), uri


def _tracking_file(uri: str, paths: RunPaths) -> Path | None:
    """MLflow's store if it is a file."""
    if uri == "auto":
        return paths.mlflow_db
    return _sqlite_file(uri) if uri.startswith("sqlite") else None


def _check_driver(spec: StudySpec) -> None:
    if spec.is_proxied:
        if find_spec("grpc") is None:
            raise StudyError(
                f"{spec.place('storage')}: the driver 'grpc' is not installed: "
                "`pip install 'sweeper[grpc]'`, or name the database itself"
            )
        return
    from sqlalchemy.engine import make_url  # a fifth of a second that a journal needs not

    try:
        make_url(spec.storage).get_dialect().import_dbapi()
    except ImportError as exc:
        raise StudyError(
            f"{spec.place('storage')}: the driver {exc.name!r} is not installed: "
            "`pip install 'sweeper[postgres]'` and write postgresql+psycopg://..., "
            "or set `storage: auto` for a journal file"
        ) from exc


def _check_sqlite(spec: StudySpec, mountinfo: str) -> None:
    file = _sqlite_file(spec.storage)
    if not file.parent.is_dir():
        raise StudyError(
            f"{spec.place('storage')}: there is no folder {file.parent}; make it first"
        )
    if where := _network(file, mountinfo):
        raise StudyError(
            f"{spec.place('storage')}: {_SQLITE}; {file} is on {where}; set it to "
            "postgresql://host/name, or to auto for a journal file"
        )


def _sqlite_file(url: str) -> Path:
    from sqlalchemy.engine import make_url

    return Path(str(make_url(url).database))


def _network(file: Path, mountinfo: str) -> str:
    """The file system of a file if other machines may write it too, or nothing."""
    mount = find_mount(file, mountinfo)
    return str(mount) if mount is not None and mount.is_network else ""


def _check_locks(
    spec: StudySpec, paths: RunPaths, note: Callable[[str], None], mountinfo: str
) -> None:
    folder = paths.study_dir
    mount = find_mount(folder, mountinfo)
    if mount is None or mount.locks is Locks.HOLD:
        return
    if spec.storage == "auto" and mount.locks is Locks.LOCAL:
        raise StudyError(
            f"{spec.place('storage')}: a journal file needs file locks that reach other machines; "
            f"{folder} is on {mount}, where they do not; set it to postgresql://host/name, or "
            "start the study in a folder on a disk of this machine, on NFS without nolock and "
            "local_lock, or on Lustre mounted with flock"
        )
    if spec.storage == "auto":
        note(
            f"WARNING: {spec.place('storage')}: {folder} is on {mount}, and it cannot be seen "
            "whether file locks reach other machines there; if not, several machines damage the "
            "journal: for more than one, set it to postgresql://host/name"
        )
    else:
        note(
            f"WARNING: {folder} is on {mount}, where file locks may not reach other machines; "
            "let each machine start the study in a folder of its own"
        )
