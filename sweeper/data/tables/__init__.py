"""The kind ``table``: rows of numbers and words."""
