"""Clinc150: what a query is about, by its words; three networks, and batches of like lengths."""

import re
from collections import Counter

import pandas as pd
import torch
from batching import LengthBuckets
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader
from training import LOG_SMALL_MODEL, build_adam

BATCH_SIZE = 64
MAX_LENGTH = 64
LOG_MODEL, build_optimizer = LOG_SMALL_MODEL, build_adam
SPACE = {"learning_rate": (1e-4, 1e-1), "dropout": (0.0, 0.5)}
SETTINGS = [
    {"learning_rate": learning_rate, "dropout": dropout}
    for dropout in (0.1, 0.3)
    for learning_rate in (1e-3, 3e-3)
]


def pad(rows):
    """A batch of texts as long as its longest, filled up with 0."""
    ids, targets = zip(*rows, strict=True)
    return pad_sequence(ids, batch_first=True), torch.tensor(targets)


class Data:
    """Words of training texts are numbered from 2 on; 1 is any other."""

    def __init__(self, root):
        table = pd.read_csv(f"{root}/clinc150.csv")
        table["words"] = [re.findall(r"\w+|[^\w\s]", text.lower()) for text in table.text]
        counts = Counter(word for words in table.words[table.split == "train"] for word in words)
        known = [word for word, _ in counts.most_common(20_000)]
        self.ids = {word: number for number, word in enumerate(known, start=2)}
        self.n_words = 2 + len(self.ids)
        table["target"] = table.intent.astype("category").cat.codes
        self.n_classes = table.intent.nunique()
        self.train, self.validation = (
            self._rows(table[table.split == split]) for split in ("train", "val")
        )

    def _rows(self, table):
        texts = [
            torch.tensor([self.ids.get(word, 1) for word in words[:MAX_LENGTH]])
            for words in table.words
        ]
        return list(zip(texts, table.target, strict=True))

    def train_loader(self):
        return self._loader(self.train, shuffle=True)

    def validation_loader(self):
        return self._loader(self.validation)

    def _loader(self, rows, shuffle=False):
        lengths = torch.tensor([len(ids) for ids, _ in rows])
        return DataLoader(
            rows, batch_sampler=LengthBuckets(lengths, BATCH_SIZE, shuffle), collate_fn=pad
        )


class Bag(nn.Module):
    """The mean of embedded words."""

    def __init__(self, n_words, n_classes, dropout):
        super().__init__()
        self.embedding = nn.EmbeddingBag(n_words, 128, padding_idx=0, mode="mean")
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(128, n_classes)

    def forward(self, ids):
        return self.output(self.dropout(self.embedding(ids)))


class Gru(nn.Module):
    """A GRU that reads both ways, its largest outputs over time."""

    def __init__(self, n_words, n_classes, dropout):
        super().__init__()
        self.embedding = nn.Embedding(n_words, 128, padding_idx=0)
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(128, 128, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * 128, n_classes)

    def forward(self, ids):
        lengths = (ids != 0).sum(1).cpu()
        words = self.dropout(self.embedding(ids))
        packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(
            self.gru(packed)[0], batch_first=True, padding_value=float("-inf")
        )
        return self.output(self.dropout(outputs.amax(1)))


class Transformer(nn.Module):
    """Two layers of four heads, and the mean of their outputs."""

    def __init__(self, n_words, n_classes, dropout):
        super().__init__()
        self.embedding = nn.Embedding(n_words, 128, padding_idx=0)
        self.positions = nn.Embedding(MAX_LENGTH, 128)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(
            128, 4, 2 * 128, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, 2, norm=nn.LayerNorm(128), enable_nested_tensor=False
        )
        self.output = nn.Linear(128, n_classes)
        for embedding in (self.embedding, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, ids):
        places = torch.arange(ids.shape[1], device=ids.device)
        words = self.dropout(self.embedding(ids) + self.positions(places))
        outputs = self.encoder(words, src_key_padding_mask=ids == 0)
        is_word = (ids != 0)[..., None]
        return self.output(self.dropout((outputs * is_word).sum(1) / is_word.sum(1)))


NETWORKS = {"bag": Bag, "gru": Gru, "transformer": Transformer}


def build_model(network, setting, data):
    """One of the three."""
    return NETWORKS[network](data.n_words, data.n_classes, setting["dropout"])
