"""A file of rows with named columns: CSV, Parquet or JSON lines."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from sweeper.data.labelled.cells import GAPS, as_plain, looks_like_number
from sweeper.data.labelled.pieces import Piece
from sweeper.errors import DataError

#: Bytes of a CSV file that are read at a time, and rows of the others.
_BLOCK_BYTES, _BLOCK_ROWS = 2**24, 2**16
_NOTHING = ("",)
#: As pandas calls an index without a name, which it takes for no column when it reads the file.
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True)
class FileRows:
    """A file of rows; see :class:`~sweeper.data.labelled.pieces.RowSource`.

    Attributes:
        texts: Columns in which nothing stands for a gap but nothing itself.
    """

    path: Path
    texts: Sequence[str] = ()

    def column_names(self) -> list[str]:
        """The names of all columns, in the order of the file.

        Raises:
            DataError: If it cannot be read, has no rows, or its columns have no names of their
                own.
        """
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such file")
        with _reading(self.path):
            names = _format(self.path).names(self.path)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"{self.path}: two columns are called {twice[0]!r}; rename one")
        return names

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """The rows of some columns, in the order of the file.

        Raises:
            DataError: If the file cannot be read, or a column holds neither numbers nor text.
        """
        kind = _format(self.path)
        first_row = 1
        with _reading(self.path):
            for raw in kind.read(self.path, names):
                columns = {name: self._plain(name, column) for name, column in raw.items()}
                n_rows = len(next(iter(columns.values())))
                rows = range(first_row, first_row + n_rows)
                yield Piece(self.path, rows, columns, kind.is_typed)
                first_row += n_rows

    def _plain(self, name: str, column: pa.Array) -> pa.Array:
        try:
            return as_plain(column, _NOTHING if name in self.texts else GAPS)
        except TypeError as exc:
            raise DataError(
                f"{self.path}: column {name!r} holds {exc}: leave it out by data.ignore, or make "
                "numbers of it"
            ) from exc


@dataclass(frozen=True)
class _Format:
    names: Callable[[Path], list[str]]
    read: Callable[[Path, Sequence[str]], Iterator[dict[str, pa.Array]]]
    is_typed: bool = False


def _format(path: Path) -> _Format:
    for suffix, kind in _FORMATS.items():
        if path.name.lower().endswith(suffix):
            return kind
    known = ", ".join(_FORMATS)
    raise DataError(f"{path}: its name tells no known form; known: {known}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except UnicodeDecodeError as exc:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8") from exc
    except (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException) as exc:
        message = str(exc).splitlines()[0] if str(exc) else repr(exc)
        message = message if message.isprintable() else repr(message)
        way_out = "save it as UTF-8" if "UTF8" in message else "write it anew, or mend it there"
        raise DataError(f"{path}: cannot be read: {message}; {way_out}") from exc


def _open_text(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _separator(path: Path, header: str) -> str:
    if ".tsv" in (suffix.lower() for suffix in path.suffixes):
        return "\t"
    return ";" if ";" in header and "," not in header else ","


def _csv_header(path: Path) -> tuple[list[str], str]:
    with _open_text(path) as file:
        separator = _separator(path, file.readline())
        file.seek(0)
        names = next(csv.reader(file, delimiter=separator), [])
    return [name.strip() for name in names], separator


def _csv_names(path: Path) -> list[str]:
    names, _ = _csv_header(path)
    if not names:
        raise DataError(f"{path}: is empty; wanted is a line of column names, then rows")
    if all(looks_like_number(pa.array(names))):
        raise DataError(
            f"{path}: its first line holds numbers alone; wanted are the names of the columns: "
            "write them above"
        )
    return names


def _read_csv(path: Path, names: Sequence[str]) -> Iterator[dict[str, pa.Array]]:
    from pyarrow import csv as arrow_csv

    header, separator = _csv_header(path)
    options = arrow_csv.ConvertOptions(
        column_types={name: pa.string() for name in header},
        include_columns=list(names),
        strings_can_be_null=False,
    )
    with (
        pa.input_stream(str(path), compression="gzip" if path.suffix == ".gz" else None) as stream,
        arrow_csv.open_csv(
            stream,
            # One thread, so that a fault is told with its row.
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=_BLOCK_BYTES, column_names=header, skip_rows=1
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=options,
        ) as reader,
    ):
        for batch in reader:
            yield {name: batch.column(name) for name in names}


def _parquet_names(path: Path) -> list[str]:
    from pyarrow import parquet

    names = parquet.read_schema(path).names
    return [name for name in names if not _PANDAS_INDEX.fullmatch(name)]


def _read_parquet(path: Path, names: Sequence[str]) -> Iterator[dict[str, pa.Array]]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_BLOCK_ROWS, columns=list(names), use_threads=False):
            yield {name: batch.column(name) for name in names}


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with _open_text(path) as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except ValueError as exc:
                raise DataError(f"{path}: row {number} is no JSON: {exc}; mend it") from exc
            if not isinstance(row, dict):
                raise DataError(f"{path}: row {number} is no mapping of columns to values")
            yield row


def _json_names(path: Path) -> list[str]:
    names = list({name: None for row in _json_rows(path) for name in row})
    if not names:
        raise DataError(f"{path}: is empty; wanted is a mapping of columns to values in each line")
    return names


def _read_json(path: Path, names: Sequence[str]) -> Iterator[dict[str, pa.Array]]:
    rows = _json_rows(path)
    first_row = 1
    while piece := list(islice(rows, _BLOCK_ROWS)):
        yield {
            name: pa.array(
                [
                    _json_text(row.get(name), f"{path}: row {number}: column {name!r}")
                    for number, row in enumerate(piece, first_row)
                ],
                pa.string(),
            )
            for name in names
        }
        first_row += len(piece)


def _json_text(value: Any, place: str) -> str | None:
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise DataError(
                f"{place} holds {value[exc.start]!r}, half of a sign that is written as two; "
                "mend it"
            ) from exc
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        raise DataError(
            f"{place} holds a {type(value).__name__}; wanted is a number, a word or a truth "
            "value: leave the column out by data.ignore"
        )
    return repr(value)


_CSV = _Format(_csv_names, _read_csv)
_JSON = _Format(_json_names, _read_json)
_FORMATS: Mapping[str, _Format] = {
    ".csv": _CSV,
    ".csv.gz": _CSV,
    ".tsv": _CSV,
    ".tsv.gz": _CSV,
    ".parquet": _Format(_parquet_names, _read_parquet, is_typed=True),
    ".jsonl": _JSON,
    ".jsonl.gz": _JSON,
}
