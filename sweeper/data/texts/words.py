"""The words of a text, and the ids of a row of texts.

A served model reads its rows by this file, a copy of which lies beside it, so that nothing of
sweeper is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Letters, digits and underscores in a row; any other sign that is no space, by itself.
_WORD = re.compile(r"\w+|[^\w\s]")


def split_words(text: str) -> list[str]:
    """The words of a text in lower case, its punctuation marks among them."""
    return _WORD.findall(text.lower())


def read_rows(
    columns: Mapping[str, Sequence[Any]], strings: Mapping[str, Any]
) -> NDArray[np.int64]:
    """Rows as a person has them -> what a served model computes with.

    Args:
        columns: By name, of values as pandas or Python has them: a frame is one.
        strings: ``column``, the name of that of texts; ``length``, of a text in ids; and
            ``words``, those of the ids from 2 on, or ``parts``, what ``tokenizers`` keeps of a
            tokenizer.

    Returns:
        Ids int64 [N, length], 1 of what is not known and 0 after the end of a text.

    Raises:
        ValueError: If one is no text, or has no word.
    """
    texts = list(columns[strings["column"]])
    rows = np.zeros((len(texts), strings["length"]), np.int64)
    for row, text in enumerate(texts):
        words = split_words(text) if isinstance(text, str) else []
        if not words:
            raise ValueError(f"column {strings['column']!r}: {text!r} in row {row + 1} is no text")
        texts[row] = words
    for row, ids in enumerate(_ids(texts, strings)):
        kept = ids[: rows.shape[1]]
        rows[row, : len(kept)] = kept
    return rows


def _ids(texts: Sequence[Sequence[str]], strings: Mapping[str, Any]) -> Sequence[Sequence[int]]:
    if "words" in strings:
        ids = {word: place for place, word in enumerate(strings["words"], 2)}
        return [[ids.get(word, 1) for word in words] for words in texts]
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(strings["parts"])
    encoded = tokenizer.encode_batch([" ".join(words) for words in texts])
    return [each.ids for each in encoded]
