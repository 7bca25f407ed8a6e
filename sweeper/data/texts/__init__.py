"""The kind ``text``: words, or parts of them."""
