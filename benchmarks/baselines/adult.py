"""Adult: the table as tensors that lie in memory, and a network with embedded categories."""

import numpy as np
import pandas as pd
import torch
from batching import Rows
from torch import nn
from training import LOG_SMALL_MODEL, build_adam

BATCH_SIZE = 256
LOG_MODEL, build_optimizer = LOG_SMALL_MODEL, build_adam
SPACE = {"learning_rate": (1e-4, 1e-1), "dropout": (0.0, 0.5)}
SETTINGS = [
    {"learning_rate": learning_rate, "dropout": dropout}
    for dropout in (0.1, 0.3)
    for learning_rate in (1e-3, 3e-3)
]


class Data:
    """The table: training rows, and those of the official test, which validate here.

    Numbers are scaled to mean 0 and deviation 1, and words numbered, by the training rows alone.
    """

    def __init__(self, root):
        table = pd.read_csv(f"{root}/adult.csv").drop(columns="fnlwgt")
        train = (table.pop("split") == "train").to_numpy()
        self.targets = torch.tensor((table.pop("income") == ">50K").to_numpy().astype("int64"))
        numbers = table.select_dtypes("number")
        words = table.select_dtypes(exclude="number")
        scaled = (numbers - numbers[train].mean()) / numbers[train].std(ddof=0)
        known = [words[name][train].dropna().unique() for name in words]
        self.n_numbers = numbers.shape[1]
        self.sizes = [1 + len(categories) for categories in known]  # 0: none of them
        codes = [
            pd.Categorical(words[name], categories=categories).codes + 1.0
            for name, categories in zip(words, known, strict=True)
        ]
        self.inputs = torch.tensor(np.column_stack([scaled, *codes]), dtype=torch.float32)
        self.train = torch.tensor(train)

    def train_loader(self):
        return Rows(self.inputs[self.train], self.targets[self.train], BATCH_SIZE, shuffle=True)

    def validation_loader(self):
        return Rows(self.inputs[~self.train], self.targets[~self.train], BATCH_SIZE)


class Network(nn.Module):
    """Categories embedded, then three hidden layers of 256."""

    def __init__(self, n_numbers, sizes, dropout):
        super().__init__()
        self.n_numbers = n_numbers
        self.embeddings = nn.ModuleList(nn.Embedding(size, 8) for size in sizes)
        layers, width = [], n_numbers + 8 * len(sizes)
        for _ in range(3):
            layers += [
                nn.Linear(width, 256, bias=False),
                nn.BatchNorm1d(256),
                nn.ReLU(),
                nn.Dropout(dropout),
            ]
            width = 256
        self.layers = nn.Sequential(*layers, nn.Linear(256, 2))

    def forward(self, rows):
        codes = rows[:, self.n_numbers :].long()
        embedded = [embed(codes[:, at]) for at, embed in enumerate(self.embeddings)]
        return self.layers(torch.cat([rows[:, : self.n_numbers], *embedded], dim=1))


def build_model(network, setting, data):
    """An MLP of 256-256-256-2."""
    return Network(data.n_numbers, data.sizes, setting["dropout"])
