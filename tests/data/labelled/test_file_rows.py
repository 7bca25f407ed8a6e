"""Files of rows, whole and damaged."""

import datetime
import gzip
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pytest
from pyarrow import parquet

from sweeper.data.labelled import file_rows
from sweeper.data.labelled.file_rows import FileRows
from sweeper.errors import DataError
from tests.support.table_files import write_table


def read(path: Path) -> dict[str, list[Any]]:
    names = FileRows(path).column_names()
    pieces = list(FileRows(path).pieces(names))
    return {
        name: [value for piece in pieces for value in piece.columns[name].to_pylist()]
        for name in names
    }


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    return str(caught.value).removeprefix(f"{path}: ")


def test_text_has_no_spaces_around_it_and_gaps_are_gaps(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffa, b,"c,d"\n1, x ,"q\nr"\n?,,NA\n'.encode())
    assert read(path) == {"a": ["1", None], "b": ["x", None], "c,d": ["q\nr", None]}


def test_columns_parted_by_semicolons_or_tabs_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b\n1;2\n")
    (tmp_path / "t.tsv").write_text("a\tb\n1\t2,5\n")
    assert read(tmp_path / "t.csv") == {"a": ["1"], "b": ["2"]}
    assert read(tmp_path / "t.tsv") == {"a": ["1"], "b": ["2,5"]}


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_rows_keep_their_numbers_from_piece_to_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(file_rows, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(file_rows, "_BLOCK_ROWS", 10)
    path = write_table(tmp_path / f"t{suffix}", {"row": list(range(1, 101))})
    pieces = list(FileRows(path).pieces(["row"]))
    assert len(pieces) > 3
    for piece in pieces:
        assert [float(value) for value in piece.columns["row"].to_pylist()] == list(piece.rows)
    assert pieces[1].place(0, "row") == f"{path}: row {pieces[1].rows[0]}: column 'row'"


def test_types_of_parquet_are_numbers_or_text(tmp_path: Path) -> None:
    columns = {
        "int": pa.array([1, None], pa.int8()),
        "float": pa.array([0.5, float("nan")], pa.float32()),
        "truth": pa.array([True, None]),
        "text": pa.array(["7", " "]),
        "word": pa.array(["x", "y"]).dictionary_encode(),
        "none": pa.nulls(2),
    }
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet") == {
        "int": [1.0, None], "float": [0.5, None], "truth": ["True", None], "text": ["7", None],
        "word": ["x", "y"], "none": [None, None],
    }  # fmt: skip


def test_an_index_that_pandas_wrote_is_no_column(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"age": [3.0, 4.0, 5.0]})
    frame.iloc[[2, 0, 1]].to_parquet(tmp_path / "t.parquet")
    assert "__index_level_0__" in parquet.read_schema(tmp_path / "t.parquet").names
    assert read(tmp_path / "t.parquet") == {"age": [5.0, 3.0, 4.0]}
    frame.set_index("age").assign(x=1).to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet") == {"x": [1.0] * 3, "age": [3.0, 4.0, 5.0]}


@pytest.mark.parametrize(
    ("values", "kind"),
    [([[1, 2]], "list<"), ([datetime.date(2026, 1, 31)], "date32"), ([{"a": 1}], "struct<")],
)
def test_a_column_of_another_type_is_refused(tmp_path: Path, values: Any, kind: str) -> None:
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"a": values, "b": [1]}), path)
    with pytest.raises(DataError, match=rf"column 'a' holds {kind}.*leave it out by data.ignore"):
        read(path)
    assert [piece.columns["b"].to_pylist() for piece in FileRows(path).pieces(["b"])] == [[1.0]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "is empty; wanted is a line of column names, then rows"),
        ("t.jsonl", b"", "is empty; wanted is a mapping of columns to values in each line"),
        ("t.xlsx", b"x", "its name tells no known form; known: .csv, .csv.gz, .tsv, .tsv.gz, "
                         ".parquet, .jsonl, .jsonl.gz"),
        ("t.csv", b"1,2.5\n3,4\n", "its first line holds numbers alone; wanted are the names of "
                                   "the columns: write them above"),
        ("t.csv", b"a,a\n1,2\n", "two columns are called 'a'; rename one"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read: CSV parse error: Row #3: Expected 2 "
                                        "columns, got 3: 1,2,3; write it anew, or mend it there"),
        ("t.csv", b"a,b\n" + b"1,2\n" * 9999 + b"1,\xff\n",
         "cannot be read: In CSV column #1: Row #10001: CSV conversion error to string: invalid "
         "UTF8 data; save it as UTF-8"),
        ("t.csv", b"a,b\n1,2,\x1b\n",
         "cannot be read: 'CSV parse error: Row #2: Expected 2 columns, got 3: 1,2,\\x1b'; write "
         "it anew, or mend it there"),
        ("t.csv", b"\xff,b\n1,2\n", "not UTF-8 text; save it as UTF-8"),
        ("t.csv.gz", b"a,b\n", "cannot be read: Not a gzipped file (b'a,'); write it anew, or "
                               "mend it there"),
        ("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 9, mtime=0)[:-12],
         "cannot be read: Truncated compressed stream; "
         "write it anew, or mend it there"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "row 2 is no JSON: Expecting value: line 2 column 1 "
                                           "(char 7); mend it"),
        ("t.jsonl", b'{"a": 1}\n[2]\n', "row 2 is no mapping of columns to values"),
        ("t.jsonl", b'{"a": 1}\n{"a": [2]}\n',
         "row 2: column 'a' holds a list; wanted is a number, a word or a truth value: leave the "
         "column out by data.ignore"),
        ("t.jsonl", rb'{"a": "ok"}' + b"\n" + rb'{"a": "no \ud83d"}',
         "row 2: column 'a' holds '\\ud83d', half of a sign that is written as two; mend it"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    assert refusal(tmp_path / name, content) == message


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "t.parquet", b"PAR1 and no more").startswith("cannot be read: ")
