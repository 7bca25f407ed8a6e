import math
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from sweeper.errors import DataError, StudyError
from sweeper.study.attributes import (
    Attr,
    Owner,
    TrialRecord,
    is_bad,
    seconds_of,
    settle_data,
)
from sweeper.study.study import SweepStudy
from sweeper.trial import DataInfo, FailureKind, TrialState
from tests.support.sweep_studies import (
    AGENT,
    begin_in_memory,
    claim_trial,
    reports,
    run_trial,
)


def settle_fingerprint(study: SweepStudy, loaded_as: str, fingerprint: str) -> None:
    data = DataInfo("moons", fingerprint, (2,), 2, 90, 10)
    settle_data(study.attributes, loaded_as, data)


def test_the_first_fingerprint_of_the_same_data_counts(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    settle_fingerprint(study, "moons, noise 0.1", "aa")
    settle_fingerprint(study, "moons, noise 0.1", "aa")
    settle_fingerprint(study, "moons, noise 0.3", "bb")
    with pytest.raises(DataError, match=r"have fingerprint cc, but earlier trials .* had aa; "):
        settle_fingerprint(study, "moons, noise 0.1", "cc")


def test_what_files_hold_is_the_same_whatever_is_made_of_it(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)

    def settle_length(length: int, source: str) -> None:
        data = DataInfo("texts", f"{length}", (length,), 2, 90, 10, source=source)
        settle_data(study.attributes, f"texts, {length} words", data)

    settle_length(8, "aa")
    settle_length(9, "aa")
    with pytest.raises(DataError, match=r"have fingerprint bb, but earlier trials .* had aa; "):
        settle_length(10, "bb")


def test_an_attribute_that_is_settled_stays(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    assert study.attributes.settle(Attr.KEY, "first") == "first"
    assert study.attributes.settle(Attr.KEY, "second") == "first"


def test_a_record_says_in_our_words_what_the_storage_has(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path)
    run_trial(study, reports(0.5, float("nan")))
    claim_trial(study, "another")
    diverged, running, waiting, *_ = study.records()
    assert (diverged.number, diverged.state) == (0, TrialState.DIVERGED)
    assert diverged.owner == Owner(AGENT, "worker", 1)
    assert diverged.ended_s is not None
    assert abs(diverged.ended_s - time.time()) < 60
    assert running == TrialRecord(1, TrialState.RUNNING, Owner(AGENT, "another", 1), None)
    assert waiting == TrialRecord(2, TrialState.WAITING, None, None)
    assert [record.has_ended for record in (diverged, running, waiting)] == [True, False, False]
    assert study.record(1) == running


def test_the_names_on_disk_are_those_of_studies_that_have_begun() -> None:
    assert sorted(Attr) == [
        "sweeper.cause",
        "sweeper.code",
        "sweeper.drawn_by",
        "sweeper.draws",
        "sweeper.epochs",
        "sweeper.failure",
        "sweeper.fingerprint",
        "sweeper.frozen",
        "sweeper.key",
        "sweeper.lanes",
        "sweeper.owner",
        "sweeper.resumed",
        "sweeper.retries",
        "sweeper.sampler",
        "sweeper.seconds",
        "sweeper.sight",
        "sweeper.state",
        "sweeper.task",
    ]


@pytest.mark.parametrize(
    ("state", "attributes", "values", "expected"),
    [
        (OptunaState.COMPLETE, {}, {1: 0.5}, False),
        (OptunaState.PRUNED, {}, {1: 0.5}, False),
        (OptunaState.PRUNED, {}, {}, True),
        (OptunaState.PRUNED, {}, {1: 0.5, 2: math.inf}, True),
        (OptunaState.PRUNED, {Attr.STATE: TrialState.DIVERGED}, {1: 0.5}, True),
        (OptunaState.FAIL, {Attr.FAILURE: FailureKind.OUT_OF_MEMORY}, {1: 0.5}, True),
        (OptunaState.FAIL, {Attr.FAILURE: FailureKind.TRIAL_TIMEOUT}, {}, True),
        (OptunaState.FAIL, {Attr.FAILURE: FailureKind.LOST_WORKER}, {}, False),
        (OptunaState.FAIL, {}, {}, False),
        (OptunaState.RUNNING, {}, {}, False),
    ],
)
def test_a_trial_is_bad_by_fault_of_its_settings_alone(
    state: OptunaState,
    attributes: dict[Attr, object],
    values: dict[int, float],
    expected: bool,
) -> None:
    trial = create_trial(
        state=state,
        value=0.5 if state == OptunaState.COMPLETE else None,
        user_attrs={str(key): value for key, value in attributes.items()},
        intermediate_values=values,
    )
    assert is_bad(trial) == expected


@pytest.mark.parametrize(
    "owner",
    [
        ["agent", "../victim", 1],
        ["/etc/passwd", "worker", 1],
        ["agent", "..", 1],
        ["agent", "", 1],
        ["agent", "a\nb", 1],
        ["agent", "worker", "first"],
        ["agent", "worker"],
        ["agent", None, 1],
        {"agent": "a"},
        "agent",
    ],
)
def test_an_owner_that_is_none_of_ours_is_refused(owner: object) -> None:
    trial = create_trial(state=OptunaState.WAITING, user_attrs={Attr.OWNER: owner})
    message = "the owner of trial .* is not what sweeper writes there: .*Who else may write"
    with pytest.raises(StudyError, match=message):
        Owner.of(trial)
    with pytest.raises(StudyError, match=message):
        TrialRecord.of(trial)


def test_a_key_that_is_a_path_names_no_place_in_the_object_store(tmp_path: Path) -> None:
    study = begin_in_memory(tmp_path, run={"object_store": f"file://{tmp_path}"})
    study.storage.set_study_user_attr(study.study_id, Attr.KEY, "../another")
    with pytest.raises(StudyError, match="^the key in the study's storage is not what sweeper"):
        _ = study.object_store


def test_the_seconds_of_a_trial_are_those_of_all_its_processes() -> None:
    trial = create_trial(value=1.0)
    trial.datetime_start = datetime(2026, 1, 31, 12, 0, 0)
    trial.datetime_complete = None
    assert seconds_of(trial) is None
    trial.datetime_complete = trial.datetime_start + timedelta(seconds=2)
    assert seconds_of(trial) == 2
    trial.set_user_attr(Attr.SECONDS, {"start": 60.0, "claim": 3.0, "step": 1.5, "data": 0.25})
    assert seconds_of(trial) == 2
    trial.set_user_attr(Attr.SECONDS, {"start": 60.0, "claim": 3.0, "step": 30.0, "data": 0.25})
    assert seconds_of(trial) == 30.25
