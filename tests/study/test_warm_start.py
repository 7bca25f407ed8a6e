"""What a study keeps of an earlier one in its storage, and shows to samplers."""

from pathlib import Path
from typing import Any

import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState as OptunaState

from sweeper.errors import StudyError
from sweeper.study.attributes import is_bad, is_known
from sweeper.study.warm_start import (
    KnownTrial,
    WarmStart,
    find_warm_start,
    keep_warm_start,
    known_trials,
)
from tests.support.sweep_studies import begin_in, begin_in_memory, spec_of

RATE = "train.learning_rate"
WARM = WarmStart(
    "trials of earlier",
    4,
    3,
    {"failed": 1},
    [
        KnownTrial("complete", {RATE: 0.01}, [0.5], {1: 0.25, 3: 0.5}),
        KnownTrial("pruned", {RATE: 0.02}, [0.25], {1: 0.25}),
        KnownTrial("diverged", {RATE: 0.1}, [], {}),
    ],
)


def test_it_is_kept_in_the_storage(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    assert find_warm_start(study.storage, study.study_id) is None
    keep_warm_start(study.storage, study.study_id, WARM)
    assert find_warm_start(study.storage, study.study_id) == WARM
    assert study.storage.get_study_user_attrs(study.study_id) == {}  # which are read all the time


def test_samplers_are_shown_trials_without_a_place_in_the_study(tmp_path: Path) -> None:
    shown = known_trials(WARM, spec_of(tmp_path))
    assert all(map(is_known, shown))
    assert [trial.number for trial in shown] == [-1, -2, -3]
    complete, pruned, diverged = shown
    assert complete.state == OptunaState.COMPLETE
    assert (complete.values, complete.intermediate_values) == ([0.5], {1: 0.25, 3: 0.5})
    assert (pruned.state, is_bad(pruned)) == (OptunaState.PRUNED, False)
    assert (diverged.values, is_bad(diverged)) == (None, True)


@pytest.mark.parametrize(
    ("params", "said"),
    [({RATE: 5.0}, f"has {RATE}, which must lie within"), ({"no.name": 1}, "is not searched")],
)
def test_a_value_that_the_file_does_not_allow_is_not_believed(
    tmp_path: Path, params: Any, said: str
) -> None:
    warm = WarmStart("x", 1, 1, {}, [KnownTrial("complete", params, [0.5], {})])
    with pytest.raises(StudyError, match=said):
        known_trials(warm, spec_of(tmp_path))


@pytest.mark.parametrize("record", [1, {"source": "x"}, {"known": [["complete"]]}])
def test_what_others_wrote_there_is_refused(tmp_path: Path, record: Any) -> None:
    storage = InMemoryStorage()
    study = begin_in(storage, tmp_path)
    storage.set_study_system_attr(study.study_id, "sweeper.warm_start", record)
    with pytest.raises(StudyError, match="the warm start in the study's storage is not what"):
        find_warm_start(storage, study.study_id)
