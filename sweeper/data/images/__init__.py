"""The kind ``images``: files of pictures."""
