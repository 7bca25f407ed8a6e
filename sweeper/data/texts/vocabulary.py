"""What ids stand for: the words of training rows, or parts of them.

In all arrays of ids 0 is padding and 1 what the vocabulary has not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeper.data.fingerprint import content_digest
from sweeper.durable import replace_file
from sweeper.errors import DataError
from sweeper.locks import FileLock

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Rows that are looked at together.
_BLOCK_ROWS = 2**14
#: Signs of a word in which pairs are looked for, which takes the square of them: of a million, as
#: of a picture in base64, hours.
_LONGEST_WORD = 10_000
_PADDING, _UNKNOWN = "[PAD]", "[UNK]"


def common_codes(
    codes: NDArray[np.int32], rows: NDArray[np.int64], most: int
) -> NDArray[np.int64]:
    """The codes that some rows have, the most frequent first and in order among equals.

    Args:
        codes: [N, L], 0 after the end of a row.
        rows: Of them.
        most: No more are returned.
    """
    counts = np.zeros(1, np.int64)
    for block in _blocks(rows):
        found = np.bincount(codes[block].ravel(), minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    counts[0] = 0
    order = np.argsort(-counts, kind="stable")[:most]
    return order[counts[order] > 0]


def number_words(
    codes: NDArray[np.int32], known: NDArray[np.int64], n_words: int
) -> NDArray[np.int32]:
    """Ids of codes, in the order in which they are known, from 2 on.

    Args:
        codes: From 1 to n_words; 0 stays.
        known: Those that have an id of their own.
        n_words: That there are.
    """
    ids = np.ones(n_words + 1, np.int32)
    ids[0] = 0
    ids[known] = np.arange(2, len(known) + 2)
    return ids[codes]


def train_pairs(
    words: Sequence[str], codes: NDArray[np.int32], rows: NDArray[np.int64], size: int
) -> Any:
    """A tokenizer that puts pairs together which are frequent in some rows.

    Words of more than 10,000 signs do not count.

    Args:
        words: What the codes stand for, from 1 on.
        codes: [N, L], 0 after the end of a row.
        rows: Of them.
        size: Parts of words that it knows, and its two other ids.

    Source: Sennrich et al. 2016 (byte pair encoding), as the package ``tokenizers`` has it.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[_PADDING, _UNKNOWN], show_progress=False
    )
    tokenizer.train_from_iterator(_spelt(words, codes, rows), trainer)
    return tokenizer


def find_pairs(
    folder: Path,
    words: Sequence[str],
    codes: NDArray[np.int32],
    rows: NDArray[np.int64],
    size: int,
) -> Any:
    """As :func:`train_pairs`, but once for all processes: what was trained is kept.

    Args:
        folder: Of the decoded texts, where it lies.
        words: What the codes stand for, from 1 on.
        codes: [N, L], 0 after the end of a row.
        rows: Of them.
        size: As there.

    Raises:
        DataError: If the package that does it is absent, or the folder cannot be written.
    """
    require_tokenizers()
    from tokenizers import Tokenizer

    made_from = f"{content_digest(rows)} {size}"
    path = folder / f"parts-{sha256(made_from.encode()).hexdigest()[:16]}.json"
    try:
        with FileLock(folder / "parts.lock").held():
            if not path.is_file():
                trained = train_pairs(words, codes, rows, size)
                with replace_file(path) as aside:
                    aside.write_text(trained.to_str(), encoding="utf-8")
    except OSError as exc:
        message = f"the data cache {folder} cannot be written: {exc}; free some space"
        raise DataError(message) from exc
    return Tokenizer.from_file(str(path))


def require_tokenizers() -> None:
    """See that the package is there.

    Raises:
        DataError: If it is absent.
    """
    try:
        import tokenizers  # noqa: F401
    except ImportError as exc:
        raise DataError(
            "data.tokenizer: bpe needs the package tokenizers, which is not there: pip install "
            "'sweeper[text]', or take words"
        ) from exc


def number_parts(
    codes: NDArray[np.int32], words: Sequence[str], tokenizer: Any, length: int
) -> NDArray[np.int32]:
    """Ids of the parts of words, rows cut at a length [N, up to length].

    Args:
        codes: [N, L], 0 after the end of a row.
        words: What the codes stand for, from 1 on.
        tokenizer: Splits a word into parts.
        length: The most of a row.
    """
    parts = [encoded.ids for encoded in tokenizer.encode_batch(list(words))]
    flat = np.array([each for part in parts for each in part], np.int32)
    counts = np.array([0, *map(len, parts)])  # of the padding none
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    blocks = [
        _joined(codes[block], flat, counts, firsts, length)
        for block in _blocks(np.arange(len(codes)))
    ]
    width = max(block.shape[1] for block in blocks)
    widths = [((0, 0), (0, width - block.shape[1])) for block in blocks]
    return np.concatenate(list(map(np.pad, blocks, widths)))


def _joined(
    codes: NDArray[np.int32],
    flat: NDArray[np.int32],
    counts: NDArray[np.int64],
    firsts: NDArray[np.int64],
    length: int,
) -> NDArray[np.int32]:
    """Rows of codes -> rows of the parts that each code stands for."""
    words = codes.ravel()
    n_parts = counts[words]
    ends = np.cumsum(n_parts)
    # Of each part: its place in its word, its word, its row, and its place in that.
    within = np.arange(n_parts.sum()) - np.repeat(ends - n_parts, n_parts)
    values = flat[np.repeat(firsts[words], n_parts) + within]
    rows = np.repeat(np.arange(codes.size) // codes.shape[1], n_parts)
    n_in_row = n_parts.reshape(codes.shape).sum(1)
    places = np.arange(len(values)) - np.repeat(np.cumsum(n_in_row) - n_in_row, n_in_row)
    is_kept = places < length
    joined = np.zeros((len(codes), min(int(n_in_row.max()), length)), np.int32)
    joined[rows[is_kept], places[is_kept]] = values[is_kept]
    return joined


def _spelt(
    words: Sequence[str], codes: NDArray[np.int32], rows: NDArray[np.int64]
) -> Iterator[str]:
    for block in _blocks(rows):
        for row in codes[block].tolist():
            spelt = (words[code - 1] for code in row if code)
            yield " ".join(word for word in spelt if len(word) <= _LONGEST_WORD)


def _blocks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(rows), _BLOCK_ROWS):
        yield rows[first : first + _BLOCK_ROWS]
