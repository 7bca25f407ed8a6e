from pathlib import Path
from typing import Any

import pytest
from optuna.storages import BaseStorage

from sweeper.study.failures import is_over
from sweeper.study.study import SweepStudy
from tests.support.sweep_studies import (
    begin_in_memory,
    reports,
    run_trial,
)


class Counting:
    """A storage that counts how often it is used."""

    def __init__(self, storage: BaseStorage) -> None:
        self.n_calls = 0
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        self.n_calls += 1
        return getattr(self._storage, name)


@pytest.mark.parametrize(
    ("sampler", "pruner"), [("random", "none"), ("tpe", "asha"), ("qmc", "median")]
)
def test_a_trial_uses_the_storage_as_often_late_as_early(
    tmp_path: Path, sampler: str, pruner: str
) -> None:
    changes = {"sampler": {"name": sampler}, "pruner": {"name": pruner}}
    begun = begin_in_memory(tmp_path, budget={"trials": 200}, **changes)
    storage: Any = Counting(begun.storage)
    study = SweepStudy(begun.spec, begun.paths, storage)
    n_calls = []
    for i in range(64):
        before = storage.n_calls
        assert not is_over(study.cache, study.goal, ())
        run_trial(study, reports(0.01 * i, 0.01 * i, 0.01 * i))
        n_calls.append(storage.n_calls - before)
    # Trial 32 fills the storage up again.
    assert set(n_calls[20:32]) == set(n_calls[40:])
    assert max(n_calls[20:32]) < 50
