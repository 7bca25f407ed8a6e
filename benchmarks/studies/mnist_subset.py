"""The first rows of MNIST, as data of a study."""

import os

from torch import Tensor
from torchvision import datasets

Rows = tuple[Tensor, Tensor]


def load(rows: int) -> tuple[Rows, None]:
    """Images uint8 [rows, 1, 28, 28] and targets int64 [rows] of the training split."""
    mnist = datasets.MNIST(os.environ["SWEEPER_DATA"], train=True)
    return (mnist.data[:rows].unsqueeze(1), mnist.targets[:rows]), None
