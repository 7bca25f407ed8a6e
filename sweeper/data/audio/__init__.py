"""The kind ``audio``: clips as log-mel frames."""
