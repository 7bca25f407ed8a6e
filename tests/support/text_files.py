"""Sentences that praise a film or do not, as rows of a file: public ones, or made up."""

import csv
import os
import random
from pathlib import Path

#: A fixture takes it out of the environment of the tests.
_PUBLIC = os.environ.get("SWEEPER_DATA")
_WORDS = {
    "positive": ("moving", "funny", "a joy", "brilliant", "warm"),
    "negative": ("dull", "clumsy", "a bore", "tired", "flat"),
}


def write_sentences(path: Path, n_rows: int = 256) -> None:
    """Rows of ``text`` and ``label``: some of ``rt-polarity.csv`` if $SWEEPER_DATA has it."""
    chance = random.Random(0)
    public = Path(_PUBLIC or "", "rt-polarity.csv")
    if _PUBLIC and public.exists():
        with public.open(newline="", encoding="utf-8") as file:
            found = [(row["text"], row["label"]) for row in csv.DictReader(file)]
        rows = chance.sample(found, n_rows)
    else:
        rows = [_made_up(chance) for _ in range(n_rows)]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def _made_up(chance: random.Random) -> tuple[str, str]:
    label = chance.choice(("positive", "negative"))
    said = " and ".join(chance.sample(_WORDS[label], 2))
    return f"the film of {chance.randint(1950, 2020)} is {said}", label
