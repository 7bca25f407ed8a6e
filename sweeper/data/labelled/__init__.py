"""Rows with named columns, of files or folders: inputs, targets, and what parts them."""
