"""Where trials lie: Optuna's storages, their locks, the object store.

Imports nothing else of :mod:`sweeper.study`.
"""
