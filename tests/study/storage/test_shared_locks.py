from pathlib import Path

import pytest

from sweeper.errors import StoreError
from sweeper.study.storage.shared_locks import founding, open_locks
from tests.support.sweep_studies import spec_of


def test_beside_a_journal_the_file_is_the_lock(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    path = tmp_path / "study.lock"
    with open_locks(spec)(path).held(), open_locks(spec)(path).tried() as is_held:
        assert path.exists()
        assert not is_held
    with open_locks(spec)(path).tried() as is_held:
        assert is_held


def test_beside_a_journal_the_mirrors_own_lock_is_enough_to_begin_the_run(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with founding(spec), founding(spec):
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("storage", ["postgresql+psycopg://127.0.0.1:1/a", "grpc://127.0.0.1:1"])
def test_nothing_is_begun_where_the_storage_is_out_of_reach(tmp_path: Path, storage: str) -> None:
    spec = spec_of(tmp_path, storage=storage)
    with pytest.raises(StoreError, match="storage cannot be used"), founding(spec):
        pytest.fail("the lock was not held")


@pytest.mark.postgres
def test_a_database_tells_locks_apart_by_file_and_study(tmp_path: Path, postgres_url: str) -> None:
    spec, other = (spec_of(tmp_path, name=name, storage=postgres_url) for name in ("a", "b"))
    path = tmp_path / "mlruns" / "study.lock"
    with open_locks(spec)(path).held():
        elsewhere = tmp_path / "another machine" / "mlruns" / "study.lock"
        with open_locks(spec)(elsewhere).tried() as is_held:
            assert not is_held
        with open_locks(other)(path).tried() as is_held:
            assert is_held
        with open_locks(spec)(path.with_name("other.lock")).tried() as is_held:
            assert is_held
    assert not path.exists()
