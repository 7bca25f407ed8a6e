"""The same ``sweeper run`` as jobs of a scheduler."""
