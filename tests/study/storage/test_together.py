"""Writes in one visit, in every storage that can do so."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import TrialState as OptunaState
from sqlalchemy import event

from sweeper.study.storage.together import together
from sweeper.study.study import SweepStudy
from tests.support.disk_calls import note_disk_calls
from tests.support.sweep_studies import begin, begin_in_memory


def begin_in(kind: str, folder: Path, request: pytest.FixtureRequest) -> tuple[SweepStudy, ...]:
    """The same study twice, as two processes have it."""
    changes: dict[str, Any] = {"name": f"study-{uuid.uuid4().hex}"}
    if kind == "sqlite":
        changes |= sqlite(folder)
    elif kind == "postgres":
        changes |= {"storage": request.getfixturevalue("postgres_url")}
    return begin(folder, **changes), begin(folder, **changes)


def sqlite(folder: Path) -> dict[str, Any]:
    return {"storage": f"sqlite:///{folder}/s.db", "run": {"workers": 1}}


def database(study: SweepStudy) -> RDBStorage:
    assert isinstance(study.storage, _CachedStorage)
    return study.storage._backend


@pytest.fixture(params=["journal", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def studies(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[SweepStudy, ...]:
    return begin_in(request.param, tmp_path, request)


def values(study: SweepStudy) -> list[dict[int, float]]:
    return [trial.intermediate_values for trial in study.trials()[:3]]


def write(study: SweepStudy, step: int, numbers: tuple[int, ...] = (0, 1, 2)) -> None:
    for number in numbers:
        study.storage.set_trial_intermediate_value(study.trial_id(number), step, 0.5)


def write_together(study: SweepStudy, then: Callable[[], object] = lambda: None) -> None:
    with together(study.storage):
        write(study, 1)
        then()


def test_others_see_all_of_it_at_the_end(studies: tuple[SweepStudy, ...]) -> None:
    study, other = studies
    with together(study.storage):
        write(study, 1)
        assert values(other) == [{}, {}, {}]
    assert values(other) == values(study) == [{1: 0.5}] * 3
    write(study, 2, (0,))
    assert values(other)[0] == {1: 0.5, 2: 0.5}


def test_a_block_that_raises_writes_nothing(studies: tuple[SweepStudy, ...]) -> None:
    study, other = studies
    with pytest.raises(KeyError):
        write_together(study, lambda: study.trial_id(99))
    assert values(other) == values(study) == [{}, {}, {}]
    write(study, 2, (0,))
    assert values(other)[0] == {2: 0.5}


def test_what_was_settled_by_another_is_told(studies: tuple[SweepStudy, ...]) -> None:
    study, other = studies
    for number in (0, 1):
        other.storage.set_trial_state_values(other.trial_id(number), OptunaState.FAIL)
    with pytest.raises(UpdateFinishedTrialError, match="0"):
        write_together(study)
    assert values(study)[:2] == values(other)[:2] == [{}, {}]
    write(study, 2, (2,))
    assert values(other)[2].keys() >= {2}


def test_it_is_one_write_of_a_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = begin(tmp_path)
    done = note_disk_calls(monkeypatch)
    with together(study.storage):
        write(study, 1)
    assert done == [("fsync", study.paths.journal)]


def test_it_is_one_transaction_of_a_database(tmp_path: Path) -> None:
    study = begin(tmp_path, **sqlite(tmp_path))
    commits: list[object] = []
    event.listen(database(study).engine, "commit", commits.append)
    with together(study.storage):
        write(study, 1)
    assert len(commits) == 1


def test_a_write_that_undoes_those_before_it_is_no_success(tmp_path: Path) -> None:
    """Optuna takes the same key, written at the same moment by two, for no error."""
    study = begin(tmp_path, **sqlite(tmp_path))
    with pytest.raises(StorageInternalError, match="the same moment"):
        write_together(study, database(study).scoped_session().rollback)
    assert values(study) == [{}, {}, {}]
    write(study, 1)
    assert values(study) == [{1: 0.5}] * 3


def test_a_storage_that_cannot_writes_one_by_one(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    with together(study.storage):
        write(study, 1)
        assert values(study) == [{1: 0.5}] * 3
