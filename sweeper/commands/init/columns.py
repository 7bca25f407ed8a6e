"""What the columns of some rows are good for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from statistics import fmean

from sweeper.commands.init.proposal import Key, Kind
from sweeper.data.labelled.columns import ColumnScan
from sweeper.data.labelled.location import FILE_SUFFIXES
from sweeper.data.labelled.pieces import RowSource
from sweeper.data.labelled.target_columns import settle_task
from sweeper.errors import DataError
from sweeper.trial import Task

#: So many rows tell what a column holds.
_MOST_ROWS = 200_000
#: Names that a target often has; without one it is the last column of a table that could be one,
#: and the first beside a text or a file.
_TARGETS = ("target", "label", "class", "y", "outcome", "category", "intent", "sentiment")
#: Names of columns that tell training rows from others, and what these say.
_SPLITS = ("split", "set", "subset", "partition", "fold")
_TRAINING = ("train", "training")
_VALIDATION = ("val", "valid", "validation", "dev")
_TEST = ("test", "testing")
#: Words of a text, on average, at least; those of a name are fewer.
_WORDS_OF_TEXT = 3
#: Whole numbers are classes if there are no more of them.
_MOST_CLASSES = 20


@dataclass(frozen=True)
class Columns:
    """The columns by what they are good for.

    Attributes:
        n_rows: That were looked at.
        scans: Of all columns, by name.
        files: Columns that name files, with the kind of these.
        texts: Of several words in most values, nearly all of them different.
        split: Tells training rows from others.
        useless: With the reason.
        targets: Could be learned.
    """

    n_rows: int
    scans: Mapping[str, ColumnScan]
    files: Mapping[str, Kind]
    texts: Sequence[str]
    split: ColumnScan | None
    useless: Mapping[str, str]
    targets: Sequence[str]

    @classmethod
    def of(cls, source: RowSource) -> "Columns":
        """Look at the first rows.

        Raises:
            DataError: If they cannot be read, or none could be learned.
        """
        scans, n_rows = _scan(source)
        if fault := next(filter(None, (scan.comma_fault for scan in scans.values())), ""):
            raise DataError(f"{source.path}: {fault}")
        files = {name: kind for name, scan in scans.items() if (kind := _kind_of_files(scan))}
        rest = [name for name in scans if name not in files]
        texts = [name for name in rest if _is_text(scans[name], n_rows)]
        useless = {
            name: why
            for name in rest
            if name not in texts and (why := _is_useless(scans[name], n_rows))
        }
        rest = [name for name in rest if name not in texts and name not in useless]
        split = next((name for name in rest if _is_split(scans[name])), None)
        targets = [name for name in rest if name != split]
        if not targets:
            raise DataError(
                f"{source.path}: no column could be a target: {', '.join(scans)} hold texts, "
                "dates, ids or nothing; add one with what is to be learned"
            )
        found = None if split is None else scans[split]
        return cls(n_rows, scans, files, texts, found, useless, targets)

    @property
    def rows(self) -> str:
        """How many there are, as far as known."""
        return f"{self.n_rows:,} rows" + " and more" * (self.n_rows >= _MOST_ROWS)

    @property
    def target(self) -> ColumnScan:
        """The likeliest."""
        named = [name for name in self.targets if name.lower() in _TARGETS]
        likely = self.targets[0 if self.files or self.texts else -1]
        return self.scans[named[0] if named else likely]

    @property
    def others(self) -> list[str]:
        """Those that are not learned, though they could be."""
        return [name for name in self.targets if name != self.target.name]


def _scan(source: RowSource) -> tuple[dict[str, ColumnScan], int]:
    scans = {name: ColumnScan(name, keeps_numbers=True) for name in source.column_names()}
    n_rows = 0
    for piece in source.pieces(list(scans)):
        for scan in scans.values():
            scan.take(piece)
        n_rows += len(piece.rows)
        if n_rows >= _MOST_ROWS:
            break
    if not n_rows:
        raise DataError(f"{source.path}: has no rows to learn from")
    return scans, n_rows


def _kind_of_files(scan: ColumnScan) -> Kind | None:
    """The kind of the files that the column names; None if it names none."""
    ends = {PurePath(str(value)).suffix.lower() for value in scan.values}
    kinds: tuple[Kind, ...] = ("audio", "images")
    return next((kind for kind in kinds if ends and ends <= {*FILE_SUFFIXES[kind]}), None)


def _is_text(scan: ColumnScan, n_rows: int) -> bool:
    if scan.kind != "words" or scan.flaw(n_rows) != "ids":
        return False
    return fmean(len(text.split()) for text in scan.values) >= _WORDS_OF_TEXT


def _is_useless(scan: ColumnScan, n_rows: int) -> str:
    if not scan.name:
        return "no name"
    if flaw := scan.flaw(n_rows):
        return flaw
    is_counter = scan.is_whole and len(scan.values) == n_rows == scan.high - scan.low + 1
    return "numbers of rows" if scan.kind == "numbers" and n_rows > 1 and is_counter else ""


def _is_split(scan: ColumnScan) -> bool:
    if scan.kind != "words" or scan.name.lower() not in _SPLITS:
        return False
    found = {word.lower() for word in scan.values}
    return found <= {*_TRAINING, *_VALIDATION, *_TEST} and len(found) > 1


def task_of(target: ColumnScan) -> tuple[Task, list[Key]]:
    """The target's task, and where the study file must state it, the key.

    Raises:
        DataError: If it cannot be learned.
    """
    try:
        return settle_task([target], None, is_list=False), []
    except DataError:
        if target.kind != "numbers" or not target.is_whole or target.low == target.high:
            raise
    task: Task = "classification" if len(target.values) <= _MOST_CLASSES else "regression"
    other = "regression" if task == "classification" else "classification"
    numbers = f"whole numbers from {target.low:g} to {target.high:g}"
    return task, [Key("task", task, f"or {other}: {numbers}")]


def holdout(split: ColumnScan | None) -> list[Key]:
    """Which rows are held out, and which are not read, by a column that says it."""
    if split is None:
        return []
    words = {word.lower(): word for word in split.words()}
    found = {"validation": _VALIDATION, "test": _TEST}
    named = {key: [words[word] for word in known if word in words] for key, known in found.items()}
    return [Key(key, {"column": split.name, "value": by[0]}) for key, by in named.items() if by]
