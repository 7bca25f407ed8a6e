"""A study of one trial that is slow enough to be stopped in the middle of an epoch."""

import torch

from tests.support.sweep import Sweep

#: An epoch takes 96 rows x 50 ms, a batch of it 1.2 s; or a row takes $ROW_S.
STUDY = """
budget: {trials: 1}
pruner: {name: none}
data: {name: "own:load", batch_size: 24, validation: 0.2}
model: {architecture: "own:Net", dropout: 0.3}
train: {epochs: 3, learning_rate: {low: 1e-3, high: 1e-2}, schedule: cosine}
run: {workers: 1, device: cpu}
"""
BATCHES = 4  # of an epoch
EPOCHS = 3
CODE = """
import os
import time
import torch
from torch import nn
from torch.utils.data import Dataset


class Rows(Dataset):
    def __init__(self):
        self.inputs = torch.rand(120, 8, generator=torch.Generator().manual_seed(0))
        self.targets = torch.arange(120) % 3

    def __len__(self):
        return 120

    def __getitem__(self, row):
        time.sleep(float(os.environ.get("ROW_S", "0.05")))
        return self.inputs[row], self.targets[row]


def load():
    return Rows(), None


class Net(nn.Module):
    def __init__(self, input_shape, n_outputs, dropout):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 3)
        )

    def forward(self, inputs):
        if self.training:
            with open("batches", "a") as file:
                file.write("x")
        return self.layers(inputs)
"""


def n_trained(sweep: Sweep) -> int:
    """Batches that the trial was trained on, in whatever process."""
    path = sweep.folder / "batches"
    return path.stat().st_size if path.exists() else 0


def assert_same(one: Sweep, other: Sweep, *, epochs: int) -> None:
    """Both ended the trial with the same numbers bit for bit, but for its times."""
    weights = [torch.load(s.paths.model(0), weights_only=True) for s in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    measured = [
        [{**epoch.values, "epoch_seconds": 0.0} for epoch in sweep.epochs(0)]
        for sweep in (one, other)
    ]
    assert measured[0] == measured[1]
    assert len(measured[0]) == epochs
