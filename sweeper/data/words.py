"""The words of a text. Needs nothing but Python, so that served models split texts alike."""

import re

#: Letters, digits and underscores in a row; any other sign that is no space, by itself.
_WORD = re.compile(r"\w+|[^\w\s]")


def split_words(text: str) -> list[str]:
    """The words of a text in lower case, its punctuation marks among them."""
    return _WORD.findall(text.lower())
