"""Every built-in architecture in small, and samples of every form."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sweeper.models.build import BUILDERS
from sweeper.models.forms import TAKES, Form
from sweeper.trial import DataInfo, Features, Tokens

DATA: Mapping[Form, DataInfo] = {
    "text": DataInfo(
        "mine", "0" * 16, (9,), 3, 90, 10, input_dtype="int64", tokens=Tokens(n_words=20)
    ),
    "frames": DataInfo("mine", "0" * 16, (8, 16), 3, 90, 10, frames=True),
    "a table": DataInfo("mine", "0" * 16, (4,), 3, 90, 10, features=Features(2, (3, 5))),
    "images": DataInfo("mine", "0" * 16, (2, 8, 8), 3, 90, 10),
    "numbers": DataInfo("mine", "0" * 16, (8, 16), 3, 90, 10),
}
SMALL: Mapping[str, Mapping[str, Any]] = {
    "mlp": {"width": 8, "dropout": 0.5},
    "cnn": {"channels": 4, "dropout": 0.5},
    "resnet": {"width": 4, "dropout": 0.5},
    "bag": {"width": 8, "depth": 1, "dropout": 0.5},
    "rnn": {"width": 8, "depth": 2, "dropout": 0.5},
    "transformer": {"width": 8, "dropout": 0.5},
    "resnet18": {},
}
TAKEN = [(name, form) for name in BUILDERS for form in TAKES[name]]


def samples(form: Form, n: int, *, seed: int = 0) -> Tensor:
    """Of different length where that may be: the first is the longest."""
    data, generator = DATA[form], torch.Generator().manual_seed(seed)
    rows = torch.rand(n, *data.input_shape, generator=generator) + 0.5
    if data.tokens:
        rows = torch.randint(1, data.tokens.n_words, rows.shape, generator=generator)
    if data.features:
        rows[:, 2:] = torch.randint(0, 3, (n, 2), generator=generator).float()
    if data.tokens or data.frames:
        longest = data.input_shape[-1]
        for row in range(1, n):
            rows[row, ..., 1 + row * 5 % longest :] = 0
    return rows
