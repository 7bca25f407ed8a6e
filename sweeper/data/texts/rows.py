"""Rows of texts: codes of all words as they were read -> ids of what training rows have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweeper.config.records import read_record
from sweeper.config.settings import DataConfig, Tokenizer
from sweeper.data.content import CacheEntry
from sweeper.data.labelled.labels import Labels
from sweeper.data.lengths import token_lengths
from sweeper.data.preprocessing import Preprocessing
from sweeper.data.rows import Fitted, TensorRows, map_arrays
from sweeper.data.texts.form import DEFAULT_LENGTH, TextForm
from sweeper.data.texts.vocabulary import common_codes, find_pairs, number_parts, number_words
from sweeper.trial import Task, Tokens

#: The most frequent ones, which make a text to try a served model with.
_EXAMPLE_WORDS = 5


@dataclass(frozen=True)
class TextRows:
    """All rows that a trial may read, as they were read.

    Attributes:
        codes: int32 [N, L], 0 after the end of a text.
        spelling: What the codes stand for, uint8 of text with a line for each from 1 on.
        targets: As :func:`~sweeper.data.targets.read_targets` returns them.
        marks: int32 [N], the group of each row, or 1 where it is held out; None where a share is.
        form: What the inputs mean.
        labels: What the targets mean.
        digest: Of all that.
        folder: Where what is fitted may be kept.
        tokenizer: Whether ids are of words, or of parts of words.
        vocabulary: The most ids but for padding and what is unknown.
        max_length: The most ids of a text.
    """

    codes: Tensor
    spelling: Tensor
    targets: Tensor
    marks: Tensor | None
    form: TextForm
    labels: Labels
    digest: str
    folder: Path
    tokenizer: Tokenizer = "words"
    vocabulary: int = 20_000
    max_length: int = DEFAULT_LENGTH

    @property
    def task(self) -> Task:
        """Of the targets."""
        return self.labels.task

    def fit(self, train: Tensor, validation: Tensor) -> Fitted:
        """See :class:`~sweeper.data.rows.Rows`.

        Returns:
            Ids int32 [N, L]: 0 after the end of a text, 1 what the vocabulary has not, then all
            that it has; of words the most frequent first, and in order among equals.
        """
        codes, rows = self.codes.numpy(), train.numpy()
        seen, words = codes[:, : self.max_length], self._words()
        if self.tokenizer == "words":
            known = common_codes(seen, rows, self.vocabulary)
            n_ids, ids = len(known) + 2, number_words(codes, known, self.form.n_words)
            vocabulary: dict[str, Any] = {"words": [words[code - 1] for code in known]}
            digest = self.digest
        else:
            tokenizer = find_pairs(self.folder, words, seen, rows, self.vocabulary + 2)
            n_ids = tokenizer.get_vocab_size()
            ids = number_parts(codes, words, tokenizer, self.max_length + 1)
            vocabulary = {"parts": tokenizer.to_str()}
            digest = sha256(f"{self.digest} {vocabulary}".encode()).hexdigest()
        inputs = torch.from_numpy(np.ascontiguousarray(ids[:, : self.max_length]))
        lengths = token_lengths(torch.from_numpy(ids))
        common = [words[code - 1] for code in common_codes(seen, rows, _EXAMPLE_WORDS)]
        return Fitted(
            TensorRows(inputs, self.targets, digest, None, self.task),
            tokens=Tokens(n_ids),
            labels=self.labels,
            preprocessing=self._preprocessing(vocabulary, inputs.shape[1], common),
            inferred=self._describe(inputs[validation], lengths, n_ids),
            source=self.form.digest,
        )

    def _words(self) -> list[str]:
        return bytes(self.spelling.numpy()).decode().split("\n")

    def _preprocessing(
        self, vocabulary: Mapping[str, Any], length: int, common: Sequence[str]
    ) -> Preprocessing:
        kind = "text" if self.tokenizer == "words" else "text_parts"
        strings = {
            "column": self.form.column,
            "length": length,
            # Of no row in particular, as it is sent to MLflow.
            "example": {self.form.column: " ".join(common)},
            **vocabulary,
        }
        return Preprocessing(kind, strings, {})

    def _describe(self, held_out: Tensor, lengths: Tensor, n_ids: int) -> str:
        units = "words" if self.tokenizer == "words" else "parts of words"
        share_cut = (lengths > self.max_length).double().mean().item()
        share_unknown = (held_out == 1).sum().item() / (held_out > 0).sum().item()
        return (
            f"texts of {int(lengths.median())} {units} in the median (column {self.form.column}; "
            f"the longest has {self.form.longest:,} words), {share_cut:.2g} of them cut at "
            f"max_length {self.max_length}; a vocabulary of {n_ids - 2:,} {units}, which lacks "
            f"{share_unknown:.2g} of the validation rows' {units}"
        )


def map_rows(entry: CacheEntry, config: DataConfig) -> TextRows:
    """The texts of a cache entry."""
    labels = read_record(Labels, entry.content.about["labels"])
    arrays = map_arrays(entry)
    keys = ("tokenizer", "vocabulary", "max_length")
    return TextRows(
        arrays["codes"],
        arrays["words"],
        arrays["targets"],
        arrays.get("marks"),
        read_record(TextForm, entry.content.about["text"]),
        labels,
        sha256(f"{entry.digest} {labels.classes!r}".encode()).hexdigest(),
        entry.folder,
        **{key: config.params[key] for key in keys if key in config.params},
    )
