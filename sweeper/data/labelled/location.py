"""The files of rows, or folders, that a study file names: where they lie, and what they hold."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeper.config.file_pattern import FILE
from sweeper.config.settings import DataConfig
from sweeper.config.study import StudySpec
from sweeper.data.fingerprint import file_identity
from sweeper.data.labelled.folder import list_folder
from sweeper.errors import DataError

#: Of kinds whose rows may be the files of a folder: the ends of their names.
FILE_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "audio": (".wav", ".flac", ".ogg", ".mp3"),
    "images": (
        *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pgm", ".ppm"),
    ),
    "text": (".txt",),
}
#: Those of them of which a file of rows names further files.
_NAMING = ("audio", "images")
#: What finding such files imports; pandas comes by pyarrow.
_MODULES = ("sweeper.data.labelled.file_rows", "pandas")


def reading_modules(spec: StudySpec) -> Sequence[str]:
    """What a worker of this study is going to import to find its data, and others do without."""
    data = spec.sections.get("data", {})
    return _MODULES if data.get("name") in _NAMING and Path(data["path"]).suffix else ()


def row_files(config: DataConfig) -> list[Path]:
    """The file or folder of the rows and, if the study file names one, that of validation rows.

    A relative path is below data.root; without one it counts from where the command works, and
    if there is nothing, from $SWEEPER_DATA.

    Raises:
        DataError: If one is not there.
    """
    holdout = config.validation
    held_out = [] if isinstance(holdout, float) or "path" not in holdout else [holdout["path"]]
    found = [
        find_file(config.params["path"], config.root, "data.path"),
        *(find_file(path, config.root, "data.validation") for path in held_out),
    ]
    for path in found:
        if path.is_dir() and config.name not in FILE_SUFFIXES:
            raise DataError(
                f"data.path: {path} is a folder, and {config.name} reads a file of rows; name that"
            )
    if len(set(found)) < len(found):
        raise DataError(
            f"data.validation: {found[0]} is data.path too, so that a model would be validated on "
            "what it was trained on; name other rows, or hold out a share of these"
        )
    return found


def find_file(name: str, root: str | None, key: str) -> Path:
    """A file of rows, or a folder, where :func:`row_files` looks for it.

    Args:
        name: As the user wrote it.
        root: ``data.root`` if that is set.
        key: Where it was written, for messages.

    Raises:
        DataError: If nothing is there.
    """
    environment = os.environ.get("SWEEPER_DATA")
    folders = [root] if root is not None else ["", *([environment] if environment else [])]
    try:
        places = [Path(folder).expanduser() / Path(name).expanduser() for folder in folders]
        for place in places:
            if place.is_file() or place.is_dir():
                return place.resolve()
    except (OSError, RuntimeError, ValueError) as exc:  # of a home, or a sign, that cannot be
        raise DataError(
            f"{key}: no file can be called {name!r}: {exc}; give another path"
        ) from exc
    looked = " and ".join(dict.fromkeys(str(place.absolute()) for place in places))
    raise DataError(
        f"{key}: no such file: {looked}; give the path from where the command works, or from "
        "data.root or $SWEEPER_DATA if that is set"
    )


def row_identity(config: DataConfig, fitted: Collection[str] = ()) -> list[Any]:
    """All that the decoded rows follow from.

    Args:
        config: Of the data.
        fitted: Keys that say what is made of them for a trial.
    """
    kept = {key: value for key, value in config.params.items() if key not in fitted}
    marks = {} if isinstance(config.validation, float) else dict(config.validation)
    marks.pop("share", None)
    params = {"params": sorted(kept.items()), "marks": sorted(marks.items())}
    paths = row_files(config)
    files = [file for path in paths for file in _files_of(path, config)]
    return [params, config.task, file_identity(files)]


def _files_of(path: Path, config: DataConfig) -> Iterator[Path | str]:
    """Those of a folder; or a file of rows, and what its rows name."""
    if path.is_dir():
        found = list_folder(path, FILE_SUFFIXES[config.name])
        yield from (os.path.join(path, file) for file in found.files)
        return
    yield path
    if config.name in _NAMING:
        from sweeper.data.labelled.file_rows import FileRows  # pyarrow

        rows, column = FileRows(path), config.params.get("column", FILE)
        if column in rows.column_names():
            for piece in rows.pieces([column]):
                names = piece.columns[column].drop_null().to_pylist()
                yield from (os.path.join(path.parent, str(name)) for name in names)


def row_label(config: DataConfig) -> str:
    """Their name in records: that of the file, without suffixes."""
    return Path(config.params["path"]).name.partition(".")[0] or config.name
