"""What the arrays of texts mean, as their cache entry keeps it."""

from dataclasses import dataclass

#: Of a text in words, or parts of words, where the study file does not say.
DEFAULT_LENGTH = 64


@dataclass(frozen=True)
class TextForm:
    """What the arrays of texts mean, targets apart.

    Attributes:
        column: Name of the column of texts; ``text`` where they are files of a folder.
        n_words: Different words in all rows.
        longest: Words of the longest text.
        digest: SHA-256 of all texts, uncut, in hex.
    """

    column: str
    n_words: int
    longest: int
    digest: str
