import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sweeper.errors import StoreError, StudyError
from sweeper.paths import RunPaths
from sweeper.study.storage.backend import open_storage, store_errors
from tests.support.sweep_studies import spec_of


def test_a_database_that_cannot_be_opened_is_told_without_its_password(tmp_path: Path) -> None:
    storage = "sqlite:////nowhere/me:secret@host/optuna.db"
    spec = spec_of(tmp_path, storage=storage, run={"workers": 1})
    with pytest.raises(StudyError) as caught:
        open_storage(spec, RunPaths(tmp_path, "small"))
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/small.yaml:22: storage: cannot open the study's storage (")
    assert text.endswith(
        "); check that the server runs and the URL is right, or set `storage: auto` for a journal "
        "file"
    )
    assert "secret" not in text


def test_a_database_of_another_program_is_named_as_that(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, storage=f"sqlite:///{tmp_path}/shared.db", run={"workers": 1})
    open_storage(spec, RunPaths(tmp_path, "small"))
    with closing(sqlite3.connect(tmp_path / "shared.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'of mlflow'")
        database.commit()
    with pytest.raises(StudyError) as caught:
        open_storage(spec, RunPaths(tmp_path, "small"))
    assert "storage: another version of Optuna, or another program such as MLflow, has" in str(
        caught.value
    )
    assert str(caught.value).endswith("; name another database")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="there is no folder that refuses all")
def test_where_nothing_may_be_written_nobody_is_told_to_make_room() -> None:
    with pytest.raises(StoreError) as caught, store_errors():
        Path("/sys/kernel/sweeper").mkdir()
    assert str(caught.value).endswith(
        ". What it held before is intact: see that you may write there; then the same command "
        "goes on"
    )
