"""MNIST at hand before anything is timed."""

import argparse
import os
from pathlib import Path

from torchvision import datasets


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Let ``--data`` say where MNIST lies."""
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("SWEEPER_DATA", "data")),
        help="folder that holds MNIST/raw; default $SWEEPER_DATA, else data",
    )


def fetch_mnist(data: Path) -> Path:
    """Download what is missing, which is no part of any comparison; the absolute folder."""
    datasets.MNIST(str(data), download=True)
    return data.resolve()
