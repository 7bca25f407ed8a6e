"""Some data -> what a first study file says of them."""

from collections.abc import Mapping
from pathlib import Path

from sweeper.commands.init.columns import Columns, holdout, task_of
from sweeper.commands.init.files import file_keys, rows_of_folder
from sweeper.commands.init.proposal import Key, Kind, Proposal, listed
from sweeper.config.file_pattern import FILE, LABEL
from sweeper.data.labelled.file_rows import FileRows
from sweeper.data.labelled.folder_rows import FolderRows
from sweeper.data.labelled.location import find_file

_ROWS = "yours: .csv, .tsv, .parquet or .jsonl"
_TARGET = Key("target", "label", "the column to learn")
#: For names to be filled in.
_BLANK: Mapping[str, Proposal] = {
    "table": Proposal("a table", "table", [Key("path", "rows.csv", _ROWS), _TARGET]),
    "text": Proposal(
        "texts",
        "text",
        [Key("path", "rows.csv", _ROWS), Key("column", "text", "of the texts"), _TARGET],
    ),
    "audio": Proposal(
        "clips",
        "audio",
        [
            Key("path", "clips", "yours: a folder for each class in it, or a file of rows"),
            _TARGET,
            Key("sample_rate", 16_000),
            Key("max_seconds", 2.0),
        ],
    ),
    "images": Proposal(
        "pictures",
        "images",
        [
            Key("path", "pictures", "yours: a folder for each class in it, or a file of rows"),
            Key("size", 64),
        ],
    ),
}


def propose(data: str) -> Proposal:
    """Look at some data, or take a kind of data with names to be filled in.

    Args:
        data: A file of rows or a folder of files, found as ``data.path`` is; or ``table``,
            ``text``, ``audio``, ``images``.

    Raises:
        DataError: If it cannot be read, or nothing could be learned from it.
    """
    if data in _BLANK:
        return _BLANK[data]
    path = find_file(data, None, "--data")
    if path.is_dir():
        kind, rows = rows_of_folder(path)
        return _of_folder(data, kind, rows)
    columns = Columns.of(FileRows(path))
    about = f"{data}: {columns.rows}, {len(columns.scans)} columns"
    kind, inputs = _inputs(columns, path.parent)
    task, stated = task_of(columns.target)
    keys = [
        Key("path", data),
        *inputs,
        _guessed(columns),
        *stated,
        *holdout(columns.split),
    ]
    has_numbers = any(columns.scans[name].kind == "numbers" for name in columns.others)
    return Proposal(about, kind, keys, task, has_numbers)


def _inputs(columns: Columns, folder: Path) -> tuple[Kind, list[Key]]:
    """The kind of the rows, and which columns a model is given."""
    if columns.files:
        name, kind = next(iter(columns.files.items()))
        paths = [folder / str(file) for file in columns.scans[name].values]
        column = [] if name == FILE else [Key("column", name, "names the files")]
        return kind, column + file_keys(kind, paths)
    if columns.texts:
        name, *others = columns.texts
        return "text", [Key("column", name, listed("others", others))]
    if not columns.useless:
        return "table", []
    why = ", ".join(dict.fromkeys(columns.useless.values()))
    return "table", [Key("ignore", list(columns.useless), why)]


def _guessed(columns: Columns) -> Key:
    return Key("target", columns.target.name, "guessed" + listed("; others", columns.others))


def _of_folder(data: str, kind: Kind, rows: FolderRows) -> Proposal:
    files = rows.folder.files
    form = file_keys(kind, [rows.path / file for file in files])
    about = f"{data}: {len(files):,} files"
    if rows.pattern is None:
        return Proposal(
            about, kind, [Key("path", data), Key("target", LABEL, "the folder"), *form]
        )
    columns = Columns.of(rows)
    example = f"rename what is in braces; {files[0]} is one"
    first = next(name for name in rows.pattern.columns if name in columns.targets)
    others = [name for name in columns.targets if name != first]
    keys = [
        Key("path", data),
        Key("pattern", rows.pattern.text, example),
        Key("target", first, "guessed" + listed("; others", others)),
    ]
    task, stated = task_of(columns.scans[first])
    return Proposal(about, kind, [*keys, *stated, *form], task)
