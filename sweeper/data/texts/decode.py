"""Texts: their files -> arrays on disk, of all that a trial may read of them.

    <cache_dir>/text-0123456789abcdef/codes.bin     int32 [N, L], 0 after the end of a text
                                      words.bin     uint8, words in their order, a line each: that
                                                    of code 1, of code 2, ...
                                      targets.bin, marks.bin and meta.json as of a table

The files are read twice, a piece at a time: once to know all words, once to write their codes. A
text that is longer than ``max_length`` is kept one word longer than that, so that it shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sweeper.config.file_pattern import FILE
from sweeper.config.settings import DataConfig
from sweeper.data.content import ArrayForm, Content
from sweeper.data.labelled.cells import looks_like_number
from sweeper.data.labelled.folder_rows import FolderRows
from sweeper.data.labelled.label_scan import LabelScan
from sweeper.data.labelled.pieces import Piece, RowSource
from sweeper.data.labelled.reading import Reading, open_sources
from sweeper.data.texts.form import DEFAULT_LENGTH, TextForm
from sweeper.data.texts.words import split_words
from sweeper.durable import replace_file
from sweeper.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: All are held in memory while reading.
_MOST_WORDS = 5_000_000
#: Rows whose texts are in memory together.
_BLOCK_ROWS = 4096


def write(config: DataConfig, folder: Path) -> Content:
    """Read the files of some texts, and write their arrays.

    Raises:
        DataError: If the files cannot be read, or do not hold what the study file says.
    """
    named = config.params.get("column")
    sources = open_sources(config, texts=[] if named is None else [named])
    column = _column(config, sources[0])
    reading = Reading.of(config, sources, column, _BLOCK_ROWS)
    scan = LabelScan(reading)
    texts = _TextScan(column, config.params.get("max_length", DEFAULT_LENGTH))
    for piece, _ in reading.pieces():
        texts.take(scan.take(piece))
    labels = scan.settle(config.task)
    words = texts.settle()
    codes = {word: code for code, word in enumerate(words, 1)}
    encode = partial(_encode, column=texts.column, codes=codes, length=texts.length)
    arrays = scan.write(folder, labels, {"codes": ("int32", (texts.length,))}, encode)
    spelt = "\n".join(words).encode()
    with replace_file(folder / "words.bin") as path:
        path.write_bytes(spelt)
    arrays["words"] = ArrayForm("uint8", (len(spelt),))
    name = "text" if isinstance(sources[0], FolderRows) else column
    form = TextForm(name, len(words), texts.longest, texts.digest)
    return Content(arrays, {"text": asdict(form), "labels": asdict(labels)})


def _column(config: DataConfig, source: RowSource) -> str:
    """The column of texts; of a folder that of its files, which are read."""
    column = config.params.get("column")
    if isinstance(source, FolderRows):
        if column is not None:
            raise DataError(
                f"data.column: names a column of a file of rows, and {source.path} is a folder, "
                "whose files are the texts; drop it"
            )
        return FILE
    if column is None:
        raise DataError(
            f"data.column: must name the column of texts; {source.path} has "
            f"{', '.join(source.column_names())}"
        )
    return str(column)


class _TextScan:
    """All texts, looked at once.

    Args:
        column: Their name.
        max_length: Words that a model sees.

    Attributes:
        column: Their name.
        longest: Words of the longest.
    """

    def __init__(self, column: str, max_length: int) -> None:
        self.column = column
        self.longest = 0
        self._most = max_length + 1
        self._words: set[str] = set()
        self._example = ""
        self._are_numbers = True
        self._content = sha256()

    def take(self, piece: Piece) -> None:
        """Look at the next rows.

        Raises:
            DataError: If one holds no text.
        """
        texts = _texts(piece, self.column)
        for index, text in enumerate(texts):
            words = split_words(text)
            if not words:
                raise DataError(f"{piece.place(index, self.column)} holds no text; drop such rows")
            self._words.update(words)
            self._content.update(sha256(text.encode()).digest())
            self.longest = max(self.longest, len(words))
        if len(self._words) > _MOST_WORDS:
            raise DataError(
                f"{piece.path}: column {self.column!r} has more than {_MOST_WORDS:,} different "
                "words, which are no language's; name another column by data.column, or clean it"
            )
        if self._are_numbers and texts:
            self._are_numbers = bool(looks_like_number(pa.array(texts)).all())
            self._example = self._example or texts[0]

    @property
    def digest(self) -> str:
        """Of all of them, in hex."""
        return self._content.hexdigest()

    @property
    def length(self) -> int:
        """Words that are kept of the longest."""
        return min(self.longest, self._most)

    def settle(self) -> list[str]:
        """All words, in order.

        Raises:
            DataError: If the column holds numbers.
        """
        if self._are_numbers:
            raise _no_text(self.column, self._example)
        return sorted(self._words)


def _no_text(column: str, example: object) -> DataError:
    return DataError(
        f"data.column: column {column!r} holds numbers, such as {example}, and no text; name the "
        "column of the texts"
    )


def _texts(piece: Piece, name: str) -> list[str]:
    if piece.files:
        return [_read(piece.path / file) for file in piece.files]
    column = piece.columns[name]
    if not pa.types.is_string(column.type):
        raise _no_text(name, next(iter(column.drop_null().to_pylist()), None))
    texts: list[str | None] = column.to_pylist()
    if column.null_count:
        raise DataError(f"{piece.place(texts.index(None), name)} holds no text; drop such rows")
    return [text for text in texts if text is not None]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8") from exc
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc}") from exc


def _encode(
    piece: Piece, column: str, codes: Mapping[str, int], length: int
) -> dict[str, NDArray[Any]]:
    rows = [split_words(text)[:length] for text in _texts(piece, column)]
    flat = np.array([codes[word] for row in rows for word in row], np.int32)
    return {"codes": _padded(flat, [len(row) for row in rows], length)}


def _padded(flat: NDArray[np.int32], lengths: Sequence[int], width: int) -> NDArray[np.int32]:
    """Values of rows one after the other -> a row of so many each, with 0 behind its end."""
    rows = np.zeros((len(lengths), width), np.int32)
    rows[np.arange(width) < np.asarray(lengths, np.int64)[:, None]] = flat
    return rows
