"""Pictures that tests write: of each class another colour, no two alike."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

#: Red, green and blue of a class.
COLOURS: Mapping[str, tuple[int, int, int]] = {"cat": (200, 60, 40), "dog": (40, 90, 210)}


def picture(name: str, number: int, size: tuple[int, int] = (6, 8)) -> Image.Image:
    """A picture of a class, its height and width as given, with noise by its number."""
    noise = np.random.default_rng(number).integers(-30, 30, (*size, 3))
    return Image.fromarray((np.array(COLOURS[name]) + noise).astype(np.uint8))


def write_pictures(folder: Path, n_each: int = 10, size: tuple[int, int] = (6, 8)) -> Path:
    """A folder of each class."""
    for name in COLOURS:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(n_each):
            picture(name, number, size).save(folder / name / f"{number % 5}_{number}.png")
    return folder
