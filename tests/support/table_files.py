"""The same small table in every form that is read."""

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".parquet", ".jsonl", ".jsonl.gz")
Columns = Mapping[str, Sequence[Any]]


def mixed_columns(seed: int, *, work: str, n_rows: int = 40) -> dict[str, list[Any]]:
    """Numbers and words, with gaps, and a word that the last row alone may have."""
    random = np.random.default_rng(seed)
    words = [*random.choice(["at sea", "on land"], n_rows - 1).tolist(), work]
    return {
        "age": [None if row % 7 == 0 else row / 2 for row in range(n_rows)],
        "pay": random.lognormal(8, 2, n_rows).tolist(),
        "work": words,
        "lives": random.choice(["yes", "no"], n_rows).tolist(),
        "sails": [int(word == "at sea") for word in words],
        "rich": random.integers(0, 2, n_rows).tolist(),
        "cost": random.normal(2e5, 1e5, n_rows).round(2).tolist(),
    }


def write_table(path: Path, columns: Columns) -> Path:
    """Write columns of Python's values, in which None is a gap, as the name of the file says."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(dict(columns)), path)
        return path
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        if ".jsonl" in path.suffixes:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            delimiter = "\t" if ".tsv" in path.suffixes else ","
            writer = csv.DictWriter(file, columns, delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


def write_held_out(
    folder: Path, suffix: str, columns: Columns, validation: Any
) -> tuple[Path, Any]:
    """A table in a form, and how rows are held out: if by a file, its first seven, written too."""
    path = write_table(folder / f"first{suffix}", columns)
    if isinstance(validation, dict) and "path" in validation:
        rows = {name: column[:7] for name, column in columns.items()}
        validation = {"path": str(write_table(folder / f"second{suffix}", rows))}
    return path, validation
