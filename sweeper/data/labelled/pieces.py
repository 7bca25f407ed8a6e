"""Rows with named columns, a piece at a time, so that no file need fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Piece:
    """Some consecutive rows of a file.

    Attributes:
        path: Of the file.
        rows: Their numbers in it, from 1; a header is not counted.
        columns: By name, of text without spaces around it or of float64; what is not there is
            null.
        is_typed: Whether the file says what is a number; else text may be one.
        files: Of a folder, whose files are the rows: their paths in it.
    """

    path: Path
    rows: Sequence[int]
    columns: Mapping[str, pa.Array]
    is_typed: bool
    files: Sequence[str] = ()

    def place(self, index: int, column: str) -> str:
        """``rows.csv: row 3: column 'age'``, or ``clips/3_theo.wav: column 'digit'``."""
        row = f": row {self.rows[index]}" if not self.files else f"/{self.files[index]}"
        return f"{self.path}{row}: column {column!r}"

    def without(self, is_left_out: NDArray[Any]) -> Piece:
        """The rows but some [N]."""
        kept = [index for index, is_out in enumerate(is_left_out) if not is_out]
        return replace(
            self,
            rows=[self.rows[index] for index in kept],
            columns={
                name: column.take(pa.array(kept, pa.int64()))
                for name, column in self.columns.items()
            },
            files=[self.files[index] for index in kept] if self.files else (),
        )

    def blocks(self, n_rows: int) -> Iterator[Piece]:
        """The same rows in pieces of so many."""
        for first in range(0, len(self.rows), n_rows):
            part = slice(first, first + n_rows)
            columns = {name: column[part] for name, column in self.columns.items()}
            yield replace(self, rows=self.rows[part], columns=columns, files=self.files[part])


class RowSource(Protocol):
    """Rows with named columns."""

    @property
    def path(self) -> Path:
        """Where they are, for messages."""

    def column_names(self) -> list[str]:
        """Of all columns, in their order."""

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """All rows of some columns, in an order that is the same on every machine."""
