"""Data sets: where they come from, and how they become batches.

What needs no torch until there is something to do stands in :mod:`~sweeper.data.cache`, so that
an agent whose cache is up to date starts at once; workers take
:func:`~sweeper.data.dataset.load_data`.
"""
