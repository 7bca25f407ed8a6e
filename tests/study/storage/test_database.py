"""What is read of a database, and when."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import TrialState as OptunaState
from sqlalchemy import event

from sweeper.study.study import SweepStudy
from tests.support.sweep_studies import PRUNED, begin, numbers, raises, reports, run_trial


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def studies(request: pytest.FixtureRequest, tmp_path: Path) -> list[SweepStudy]:
    """The same study twice, as two processes have it."""
    url = f"sqlite:///{tmp_path}/s.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    changes: dict[str, Any] = {"name": f"study-{uuid.uuid4().hex}", "storage": url}
    return [begin(tmp_path, **changes, run={"workers": 1}) for _ in range(2)]


def ended(study: SweepStudy, *states: OptunaState) -> list[int]:
    return numbers(study.trials(states or (OptunaState.COMPLETE,)))


def test_whoever_asks_for_ended_trials_gets_all_that_have(studies: list[SweepStudy]) -> None:
    study, other = studies
    assert ended(study) == []
    for n, body in enumerate((reports(0.5), PRUNED, raises(ValueError("x")), reports(0.7))):
        run_trial(other, body)
        assert ended(study) == [[0], [0], [0], [0, 3]][n]
    assert ended(study, OptunaState.PRUNED, OptunaState.FAIL) == [1, 2]
    assert ended(study, OptunaState.RUNNING, OptunaState.WAITING) == list(range(4, 11))
    assert len(study.trials()) == 11
    assert study.trials((OptunaState.COMPLETE,))[1].intermediate_values == {1: 0.7}


def test_they_are_read_when_one_more_has_ended_and_else_counted(
    studies: list[SweepStudy],
) -> None:
    study, other = studies
    run_trial(other, reports(0.5))
    assert ended(study) == [0]
    assert isinstance(study.storage, _CachedStorage)
    queries: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *others: Any) -> None:
        if statement.startswith("SELECT"):
            queries.append(statement)

    event.listen(study.storage._backend.engine, "before_cursor_execute", note)
    assert ended(study) == [0]
    [query] = queries
    assert query.startswith("SELECT count")
    run_trial(other, reports(0.6))
    assert ended(study) == [0, 1]
    assert len(queries) > 2
